"""The page of ``tools/demo.py``, in gradio."""
