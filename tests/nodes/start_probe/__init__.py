"""A custom node pack without nodes: what another one does while ComfyUI starts (see prestartup_script.py)."""

NODE_CLASS_MAPPINGS: dict = {}
