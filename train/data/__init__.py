"""Data of the PyTorch loops, as numpy arrays: images and text, from files and packages; nothing is downloaded."""

__all__ = ["SOURCES", "ImageData", "Images", "Source", "TextData", "read_idx"]

from tetrit.train.data.idx import read_idx
from tetrit.train.data.parts import ImageData, Images, TextData
from tetrit.train.data.sources import SOURCES, Source
