"""What ComfyUI sees: schemas, tooltips, previews. No arithmetic, no codec, no HTTP."""
