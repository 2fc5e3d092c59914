"""A server made of steps: requests arrive, queue, are computed and leave (dsjax/MODEL.md, section 11)."""
