"""Renderer behind ``tools/make_sample_videos.py``: photographs in known motion."""
