"""Where image bytes come from: http(s) and file."""
