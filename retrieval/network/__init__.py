"""The networks, their weights files and the embeddings they make. Pure PyTorch, no Django.

Importing this package does not import torch: any process may import `errors`, only workers the other modules.
"""
