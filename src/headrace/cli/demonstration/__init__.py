"""The demo: the tutorial's job on scikit-learn's digits."""
