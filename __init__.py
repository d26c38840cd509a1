"""SeedVR2 Anywhere: restore and upscale video in ComfyUI, on this machine or through RunComfy."""
