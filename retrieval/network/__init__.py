"""The networks, their weights files and the embeddings they make. Pure PyTorch, no Django.

Importing this package does not import torch: `errors` may be imported by any process, the other modules only by workers.
"""
