"""Renderer behind ``tools/data/make_sample_videos.py``: photographs in known motion."""
