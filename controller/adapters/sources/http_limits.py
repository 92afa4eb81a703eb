"""What an HTTP source is patient with. Constants with reasons; tests make them small."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Times in seconds, sizes in bytes. How long to connect and to stall is the image's own (`spec.timeouts`)."""

    max_redirects: int = 10
    """Hops after the first request. Default 10: mirror networks use two or three; browsers allow 20."""
    dns_timeout_s: float = 10.0
    """How long a name may take to resolve. Default 10 s: libc asks each server twice for 5 s."""
    max_addresses: int = 64
    """Answers of a name server that are looked at; more are refused unread, as any of them may be a forbidden one."""
    max_tried_addresses: int = 4
    """Addresses of a host that are tried before the attempt counts as failed."""
    max_header_bytes: int = 2**16
    """Status lines, headers and trailers of one answer together, interim answers included. Default 64 KiB: the largest
    seen in the wild have 16."""
    max_chunk_line_bytes: int = 4096
    """One chunk-size line with its extensions."""
    floor_bytes_per_s: int = 1024
    """A body that comes slower than this over `floor_window_s` of waiting is dropped and tried again. Default 1 KiB/s:
    a stall timeout alone never ends a peer that sends one byte a minute."""
    floor_window_s: float = 60.0
    """Seconds of waiting for the peer (not for our own disks) that the floor is averaged over."""
    tick_s: float = 0.25
    """How often a silent wait looks at the stop token. Default 0.25 s: a stop takes effect well within a second."""
    max_retry_after_s: int = 3600
    """What is made of a larger Retry-After. Default one hour: it holds for every image of that origin, and one odd
    answer must not stop all of them for a day. A server that means more is asked once an hour."""
