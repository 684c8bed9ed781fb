"""Audio: whole files and clips of them, decoded by soundfile."""
