"""RNN, GRU and LSTM layers under one class, and two ways to run them that give the same numbers.

`packed` leaves the padding out of the computation; `split` computes it, but runs each direction as its own
padded layer, which is the only form that oneDNN takes (packed input never reaches it, pytorch#149194).
Training a packed layer on a CPU is quadratic in T besides: the gradient of each step's slice fills a zero
tensor the size of the whole batch's gates. At B=64, T=200 (two layers, E=128, H=256) on one core a step took
1.7 s split and 42 s packed.

An autograd function of our own (a fused gate step in torch, the weights' gradients as one product at the end) was no
better than oneDNN's layer on one core: 0.68 of the matrix product's rate each at H=256 and I=128, 0.80 against 0.74 at
I=512, but 0.62 against 0.74 on short rows at H=128.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstm_cli.nn.cpu import get_num_threads
from lstm_cli.nn.dropout import dropout
from lstm_cli.nn.masks import check_lengths, reverse_index, reverse_valid, valid_mask
from lstm_cli.nn.side_by_side import side_by_side

Cell = Literal["rnn", "gru", "lstm"]
Path = Literal["auto", "packed", "split"]

_KERNELS: dict[Cell, Callable[..., tuple[Tensor, ...]]] = {
    "rnn": torch.rnn_tanh,
    "gru": torch.gru,
    "lstm": torch.lstm,
}
_NUM_GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}
_PARAMETER_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder hands to a pooling.

    `states` (B, T, D*H) are the last layer's, zero at padding. `final` (B, L, D*H) holds for each layer the
    forward direction's state after the row's last real step, then the backward direction's after its first.
    """

    states: Tensor
    final: Tensor


class Recurrent(nn.Module):
    """Stacked recurrent layers whose state dict is that of `torch.nn.RNN`, `GRU` or `LSTM` of the same sizes.

    `dropout` falls between layers only, and outside the kernel: cuDNN would draw it from its own generator.
    `path` may be set again at any time; `auto` is `packed` on CUDA and `split` elsewhere.

    Known from cuDNN's side of torch and not measured here: on CUDA without autocast each call copies a
    layer's weights into one chunk, and warns that they were "not part of single contiguous chunk of memory".
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        path: Path = "auto",
    ) -> None:
        super().__init__()
        self.cell: Cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.path: Path = path
        self.suffixes = ("", "_reverse") if bidirectional else ("",)
        gates_size = _NUM_GATES[cell] * hidden_size
        for layer in range(num_layers):
            layer_input = input_size if layer == 0 else self.output_size
            for suffix in self.suffixes:
                shapes = ((gates_size, layer_input), (gates_size, hidden_size), (gates_size,), (gates_size,))
                for kind, shape in zip(_PARAMETER_KINDS, shapes, strict=True):
                    self.register_parameter(f"{kind}_l{layer}{suffix}", nn.Parameter(torch.empty(shape)))
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        """Width D*H of a state."""
        return len(self.suffixes) * self.hidden_size

    @property
    def num_gates(self) -> int:
        """Gates of a cell, its candidate included."""
        return _NUM_GATES[self.cell]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights gate by gate: Xavier-uniform for inputs, orthogonal for states; biases are 0.

        Only the LSTM's forget gate is biased, by 1 as the sum of its two biases, so that a new cell keeps
        what it holds (Jozefowicz et al. 2015, section 2.2).
        """
        for name, parameter in self.named_parameters():
            if parameter.is_meta:
                continue  # only its shape is wanted
            for gate in parameter.chunk(_NUM_GATES[self.cell]):
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(gate)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(gate)
                else:
                    nn.init.zeros_(gate)
            if self.cell == "lstm" and name.startswith("bias_ih"):
                nn.init.ones_(parameter.chunk(4)[1])  # torch's order of gates: input, forget, cell, output

    def layer_parameters(self, layer: int, suffixes: tuple[str, ...] | None = None) -> list[nn.Parameter]:
        """One layer's parameters in torch's order, of all directions or of those with these suffixes."""
        return [
            self.get_parameter(f"{kind}_l{layer}{suffix}")
            for suffix in (self.suffixes if suffixes is None else suffixes)
            for kind in _PARAMETER_KINDS
        ]

    def forward(self, x: Tensor, lengths: Tensor) -> Encoded:
        """Read each row up to its length: (B, T, I), (B,) -> states (B, T, D*H), final (B, L, D*H).

        Nothing in the padding of `x`, NaN included, reaches an output or a gradient.

        Raises:
            ValueError: a length is not in 1..T, or `lengths` is not (B,) on the CPU.
        """
        check_lengths(lengths, x.shape[0], x.shape[1])
        path = self.path
        if path == "auto":
            path = "packed" if x.is_cuda else "split"
        match path:
            case "packed":
                return self._forward_packed(x, lengths)
            case "split":
                return self._forward_split(x, lengths)
            case _:
                assert_never(path)

    def _forward_packed(self, x: Tensor, lengths: Tensor) -> Encoded:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        data, finals = packed.data, []
        for layer in range(self.num_layers):
            data, final = self._run_kernel(
                self._between(data, layer), self.layer_parameters(layer), packed.batch_sizes
            )
            finals.append(final.transpose(0, 1).flatten(1))  # (D, B, H) -> (B, D*H)
        states, _ = pad_packed_sequence(
            PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices),
            batch_first=True,
            total_length=x.shape[1],
        )
        assert packed.unsorted_indices is not None  # enforce_sorted=False always makes them
        return Encoded(states, torch.stack(finals, dim=1).index_select(0, packed.unsorted_indices))

    def _forward_split(self, x: Tensor, lengths: Tensor) -> Encoded:
        num_rows, num_steps = x.shape[:2]
        index = reverse_index(lengths, num_steps, x.device)
        rows = torch.arange(num_rows, device=x.device)
        last = lengths.to(x.device) - 1
        padding = None
        if int(lengths.min()) < num_steps:
            padding = ~valid_mask(lengths, num_steps, x.device).unsqueeze(-1)
            # A finite value would do no harm here, its gradient is zero; but zero times NaN is NaN. Costs
            # 2 ms in a step of a second; the layers above read finite states and need no mask.
            x = x.masked_fill(padding, 0.0)

        def read(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
            states, _ = self._run_kernel(x, weights)
            return states, states[rows, last]

        def read_back(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
            states, final = read(reverse_valid(x, index), *weights)
            return reverse_valid(states, index), final

        finals = []
        for layer in range(self.num_layers):
            x = self._between(x, layer)
            forward, *backward = ([x, *self.layer_parameters(layer, (suffix,))] for suffix in self.suffixes)
            if not backward:
                directions = [read(*forward)]
            elif x.is_cpu and get_num_threads() > 1:
                directions = side_by_side((read, read_back), (forward, *backward))
            else:
                directions = [read(*forward), read_back(*backward[0])]
            x = torch.cat([states for states, _ in directions], dim=-1)  # (B, T, D*H)
            finals.append(torch.cat([final for _, final in directions], dim=-1))  # (B, D*H)
        if padding is not None:
            x = x.masked_fill_(padding, 0.0)  # in place: `cat` made it and keeps nothing for its gradient
        return Encoded(x, torch.stack(finals, dim=1))

    def _between(self, x: Tensor, layer: int) -> Tensor:
        """Dropout on what a layer reads from the layer below."""
        return x if layer == 0 else dropout(x, self.dropout, self.training)

    def _run_kernel(
        self, x: Tensor, weights: Sequence[Tensor], batch_sizes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One layer from a zero state, in as many directions as there are weights: its states, and those after step T.

        Padded (B, T, I) -> (B, T, D*H), or with `batch_sizes` packed (N, I) -> (N, D*H); and (D, B, H).
        """
        num_directions = len(weights) // len(_PARAMETER_KINDS)
        num_rows = x.shape[0] if batch_sizes is None else int(batch_sizes[0])
        zeros = x.new_zeros(num_directions, num_rows, self.hidden_size)
        outputs = _KERNELS[self.cell](
            *((x,) if batch_sizes is None else (x, batch_sizes)),
            (zeros, zeros) if self.cell == "lstm" else zeros,
            weights,
            True,  # has_biases
            1,  # num_layers
            0.0,  # dropout
            torch.is_grad_enabled(),  # train: cuDNN keeps what its gradient needs only then, also in eval()
            num_directions == 2,  # bidirectional
            *((True,) if batch_sizes is None else ()),  # batch_first
        )
        return outputs[0], outputs[1]
