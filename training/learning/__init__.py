"""Training and its judgement: pure PyTorch, NumPy and scikit-learn, no Django."""
