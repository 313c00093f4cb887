"""Networks to train, in PyTorch: small, plain, with every size a parameter; their descriptions load without torch."""

__all__ = ["GPT", "LSTM", "MLP", "MODELS", "VGG", "LeNet", "ModelSpec", "ResNet"]

from tetrit.train.models.specs import GPT, LSTM, MLP, MODELS, VGG, LeNet, ModelSpec, ResNet
