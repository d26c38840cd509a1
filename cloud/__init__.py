"""The hosted run on RunComfy."""
