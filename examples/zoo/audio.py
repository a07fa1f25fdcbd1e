"""Speech and sound.

``vad`` has real weights, from the Python package ``silero-vad`` (MIT, weights and code).
"""

from importlib.metadata import distribution

import torch
from safetensors.torch import load_file
from seeded import lively, sound, source
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from transformers import (
    ASTConfig,
    ASTForAudioClassification,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from edgedeploy import ModelSource

MEL_BANDS = 80
FRAMES = 100
VOCABULARY = 500


def whisper_encoder() -> ModelSource:
    """A log-mel spectrogram of one second through two convolutions and two layers of attention."""
    torch.manual_seed(1)
    return source(whisper().model.encoder, lambda g: (spectrogram(g, MEL_BANDS, FRAMES),))


def whisper_decoder() -> ModelSource:
    """Text tokens that attend to each other (causally) and to the encoder's output; logits of the next tokens."""
    torch.manual_seed(1)
    model = whisper()

    def draw(generator: Generator) -> tuple[Tensor, Tensor]:
        ids = torch.randint(1, VOCABULARY, (1, 12), generator=generator)
        return ids, torch.randn(1, FRAMES // 2, 96, generator=generator)

    return source(WhisperDecoder(model), draw)


def wav2vec2() -> ModelSource:
    """Convolutions over raw samples, a grouped convolution for positions (with weight norm), attention, CTC logits."""
    torch.manual_seed(2)
    config = Wav2Vec2Config(
        vocab_size=32,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        conv_dim=(48, 48, 48, 48, 48, 48, 48),
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=8,
        initializer_range=0.1,
    )
    return source(Wav2Vec2ForCTC(config), lambda g: (sound(g, 8000),))


def audio_transformer() -> ModelSource:
    """AST: a spectrogram cut into overlapping patches, as ViT sees pictures."""
    torch.manual_seed(3)
    config = ASTConfig(
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        max_length=64,
        num_mel_bins=64,
        initializer_range=0.1,
        num_labels=20,
    )
    return source(ASTForAudioClassification(config), lambda g: (spectrogram(g, 64, 64).transpose(1, 2),))


def vad() -> ModelSource:
    """Silero VAD, pretrained: 32 ms of sound and the state of an LSTM in, the probability of speech and the new state out."""
    network = SileroVad()
    package = distribution("silero-vad")  # importing it would ask for torchaudio
    network.load_state_dict(load_file(str(package.locate_file("silero_vad/data/silero_vad_16k.safetensors"))))

    def draw(generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        loudness = 10 ** (-2 * torch.rand(1, generator=generator))
        start = int(torch.randint(8000, (1,), generator=generator))
        recording = loudness * sound(generator, 10_000)
        hidden = cell = torch.zeros(1, 128)
        with torch.no_grad():  # a state as it is in the middle of a recording
            for second in range(start % 512 + 64, 8000, 512)[:4]:
                _, hidden, cell = network(recording[:, second - 64 : second + 512], hidden, cell)
        return recording[:, start : start + 576], hidden, cell

    return source(network, draw)


def keyword_spotting() -> ModelSource:
    """DS-CNN: depthwise-separable convolutions over the MFCCs of one second."""
    torch.manual_seed(4)
    return source(lively(KeywordSpotter(words=12)), lambda g: (spectrogram(g, 10, 49).transpose(1, 2)[:, None],))


def denoiser() -> ModelSource:
    """A masking network in time: strided 1-d convolutions, a GRU, transposed convolutions back to samples."""
    torch.manual_seed(5)
    return source(lively(Denoiser()), lambda g: (sound(g, 2048)[:, None],))


def whisper() -> WhisperForConditionalGeneration:
    """A Whisper of two layers for one second of sound."""
    config = WhisperConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=MEL_BANDS,
        d_model=96,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=384,
        decoder_ffn_dim=384,
        max_source_positions=FRAMES // 2,
        max_target_positions=64,
        init_std=0.1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return WhisperForConditionalGeneration(config)


def spectrogram(generator: Generator, bands: int, frames: int) -> Tensor:
    """Log-power bands of a voiced sound, scaled to about ±1. [1, bands, frames]."""
    hop = 160
    wave = sound(generator, hop * (frames - 1))
    spectrum = torch.stft(wave, 400, hop, window=torch.hann_window(400), return_complex=True).abs() ** 2
    mel = F.interpolate(spectrum.transpose(1, 2), size=bands, mode="linear").transpose(1, 2)
    return (mel.clamp(min=1e-6).log10() + 2) / 4


class WhisperDecoder(nn.Module):
    """The decoder with its output layer."""

    def __init__(self, model: WhisperForConditionalGeneration) -> None:
        super().__init__()
        self.decoder = model.model.decoder
        self.head = model.proj_out

    def forward(self, input_ids: Tensor, encoder_states: Tensor) -> Tensor:
        decoded = self.decoder(input_ids=input_ids, encoder_hidden_states=encoder_states, use_cache=False)
        return self.head(decoded.last_hidden_state)


class SileroVad(nn.Module):
    """The 16 kHz network of Silero VAD 6: a Fourier transform as a convolution, four convolutions, an LSTM cell."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, samples: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``samples`` [1, 576]: the last 64 of the chunk before, then 512 new ones."""
        x = F.pad(samples[:, None], (0, 64), mode="reflect")
        real, imaginary = self.stft_conv(x).chunk(2, 1)
        x = torch.sqrt(real**2 + imaginary**2)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(layer(x))
        hidden, cell = self.lstm_cell(x.squeeze(-1), (hidden, cell))
        speech = torch.sigmoid(self.final_conv(F.relu(hidden)[..., None])).squeeze(-1)
        return speech, hidden, cell


class KeywordSpotter(nn.Module):
    """A convolution, four depthwise-separable ones, a mean, a classifier."""

    def __init__(self, words: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 64, (10, 4), (2, 2), (5, 1), bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        for _ in range(4):
            layers += [nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
            layers += [nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(64, words)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(F.dropout(self.layers(features).mean((2, 3)), 0.2, self.training))


class Denoiser(nn.Module):
    """Encoder, recurrent middle, decoder; the encoder's maps are added on the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 16, 8, stride=4, padding=2)
        self.second = nn.Conv1d(16, 32, 8, stride=4, padding=2)
        self.gru = nn.GRU(32, 32, batch_first=True)
        self.back = nn.ConvTranspose1d(32, 16, 8, stride=4, padding=2)
        self.out = nn.ConvTranspose1d(16, 1, 8, stride=4, padding=2)

    def forward(self, samples: Tensor) -> Tensor:
        fine = F.elu(self.first(samples))
        coarse = F.elu(self.second(fine))
        middle, _ = self.gru(coarse.transpose(1, 2))
        return torch.tanh(self.out(F.elu(self.back(middle.transpose(1, 2) + coarse)) + fine))
