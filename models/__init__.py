"""The SeedVR2 network in pure torch: transformer, video VAE, checkpoints and the catalogue of known files."""
