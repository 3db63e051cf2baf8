"""The slow pieces of a combination: made once, shared through the store."""

from transfer_exp.work.base import Work, torch_device

__all__ = ["Work", "torch_device"]
