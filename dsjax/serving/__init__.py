"""One step of serving a DeepSeek-V3-class model, composed."""
