"""One target and one engine for neoc, registered by entry points alone."""
