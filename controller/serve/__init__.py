"""What is read over HTTP: health for the kubelet, metrics for Prometheus."""
