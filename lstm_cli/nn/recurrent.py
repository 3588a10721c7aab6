"""RNN, GRU and LSTM layers in one class, with two implementations that give the same numbers.

`packed` skips the padding. `split` computes it too, but runs each direction as a separate padded layer. That is the
only form that oneDNN accepts; packed input never reaches it (pytorch#149194). Training a packed layer on a CPU is also
quadratic in T: the gradient of each step's slice fills a zero tensor of the size of all gates of the batch. At B=64,
T=200 (two layers, E=128, H=256) on one core a step took 1.7 s split and 42 s packed.

A hand-written autograd function (a fused gate step in torch, the gradients of the weights as one product at the end)
was no better overall than oneDNN's layer on one core. As a fraction of the rate of a plain matrix product, both reached
0.68 at H=256 and I=128. At I=512 the function reached 0.80 and oneDNN 0.74; on short rows at H=128 the function reached
0.62 and oneDNN 0.74.
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
from lstm_cli.nn.parallel import in_parallel

Cell = Literal["rnn", "gru", "lstm"]
LayerPath = Literal["auto", "packed", "split"]

_KERNELS: dict[Cell, Callable[..., tuple[Tensor, ...]]] = {
    "rnn": torch.rnn_tanh,
    "gru": torch.gru,
    "lstm": torch.lstm,
}
_NUM_GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}
_NUM_STATES: dict[Cell, int] = {"rnn": 1, "gru": 1, "lstm": 2}
_PARAMETER_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

State = tuple[Tensor, ...]
"""The state of all layers: (hidden,), for an LSTM (hidden, cell), each (B, L, D*H) as in `Encoded.final`."""


_PACKED_FROM = 1024
"""Hidden size from which `packed` is faster on CUDA: 804,681 tokens/s against 648,515 with `split` (fp16,
H100/H200)."""


def faster_path(device_type: str, hidden_size: int) -> Literal["packed", "split"]:
    """The path that `auto` takes.

    On CUDA (H100 and H200) `split` was up to 4.0 times as fast as `packed` (at H=128), and slower only at H=1024. On a
    CPU packed input never reaches oneDNN.
    """
    return "packed" if device_type == "cuda" and hidden_size >= _PACKED_FROM else "split"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The output of an encoder, which a pooling reads.

    `states` (B, T, D*H) are the last layer's, zero at padding. `final` (B, L, D*H) holds for each layer the hidden
    state of the forward direction after the row's last real step, then that of the backward direction after the first.
    `state` is the whole state at the same steps, an LSTM's cell included, to be passed on as `initial`; None unless
    `initial` was given.
    """

    states: Tensor
    final: Tensor
    state: State | None = None


class Recurrent(nn.Module):
    """Stacked recurrent layers whose state dict is that of `torch.nn.RNN`, `GRU` or `LSTM` of the same sizes.

    `dropout` is applied between layers only, and outside the kernel: cuDNN would draw it from its own generator.
    `path` may be changed at any time; `auto` means `faster_path`.

    On CUDA without autocast, cuDNN copies the weights of a layer into one chunk at each call (its cost was not
    measured), and torch warns that they were "not part of single contiguous chunk of memory".
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        path: LayerPath = "auto",
    ) -> None:
        super().__init__()
        self.cell: Cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.path: LayerPath = path
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
        """Width D*H of the states."""
        return len(self.suffixes) * self.hidden_size

    @property
    def num_gates(self) -> int:
        """The number of gates in a cell, the candidate included."""
        return _NUM_GATES[self.cell]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights gate by gate: input weights Xavier-uniform, state weights orthogonal; biases are 0.

        Except the LSTM's forget gate: its two biases sum to 1, so that a new cell keeps its content (Jozefowicz et al.
        2015, section 2.2).
        """
        for name, parameter in self.named_parameters():
            if parameter.is_meta:
                continue  # it has a shape but no values
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
        """The parameters of a layer in torch's order, of all directions or of those with these suffixes."""
        return [
            self.get_parameter(f"{kind}_l{layer}{suffix}")
            for suffix in (self.suffixes if suffixes is None else suffixes)
            for kind in _PARAMETER_KINDS
        ]

    def zero_state(self, num_rows: int) -> State:
        """The state before the first step, from which a network without `initial` starts."""
        weight = self.get_parameter("weight_hh_l0")
        shape = (num_rows, self.num_layers, self.output_size)
        return tuple(weight.new_zeros(shape) for _ in range(_NUM_STATES[self.cell]))

    def forward(self, x: Tensor, lengths: Tensor, initial: State | None = None) -> Encoded:
        """Read each row up to its length: (B, T, I), (B,) -> states (B, T, D*H), final (B, L, D*H).

        Each direction starts from its half of `initial`, the backward one at the row's last real step, or from
        zero. With `initial`, `state` of the result is the state after each row's last real step. Nothing in the
        padding of `x`, NaN included, reaches an output or a gradient.

        Raises:
            ValueError: a length is not in 1..T, `lengths` is not (B,) on the CPU, or `initial` is not a state of
                this network for B rows.
        """
        check_lengths(lengths, x.shape[0], x.shape[1])
        if initial is not None:
            self._check_state(initial, x.shape[0])
        path = self.path
        if path == "auto":
            path = faster_path(x.device.type, self.hidden_size)
        if initial is not None and self.cell == "lstm" and int(lengths.min()) < x.shape[1]:
            # `split` also reads the padding and returns the cell state after step T only. Its outputs include the
            # hidden state after each row's last real step, but not the cell state.
            path = "packed"
        match path:
            case "packed":
                return self._forward_packed(x, lengths, initial)
            case "split":
                return self._forward_split(x, lengths, initial)
            case _:
                assert_never(path)

    def _check_state(self, initial: State, num_rows: int) -> None:
        expected = [(num_rows, self.num_layers, self.output_size)] * _NUM_STATES[self.cell]
        shapes = [tuple(part.shape) for part in initial]
        if shapes != expected:
            raise ValueError(
                f"initial must have the shapes {expected}, got {shapes}; try zero_state({num_rows})"
            )

    def _forward_packed(self, x: Tensor, lengths: Tensor, initial: State | None) -> Encoded:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        # enforce_sorted=False always sets both
        assert packed.sorted_indices is not None
        assert packed.unsorted_indices is not None
        if initial is not None:
            initial = tuple(part.index_select(0, packed.sorted_indices) for part in initial)
        data, after = packed.data, []
        for layer in range(self.num_layers):
            data, *state = self._run_kernel(
                self._between(data, layer),
                self.layer_parameters(layer),
                () if initial is None else [self._by_direction(part[:, layer]) for part in initial],
                packed.batch_sizes,
            )
            kept = state if initial is not None else state[:1]
            after.append([part.transpose(0, 1).flatten(1) for part in kept])  # (D, B, H) -> (B, D*H)
        states, _ = pad_packed_sequence(
            PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices),
            batch_first=True,
            total_length=x.shape[1],
        )
        final, *rest = (
            torch.stack(layers, dim=1).index_select(0, packed.unsorted_indices)
            for layers in zip(*after, strict=True)
        )
        return Encoded(states, final, None if initial is None else (final, *rest))

    def _by_direction(self, state: Tensor) -> Tensor:
        """A layer's state as the kernels take it: (B, D*H) -> (D, B, H)."""
        return state.reshape(len(state), -1, self.hidden_size).transpose(0, 1)

    def _forward_split(self, x: Tensor, lengths: Tensor, initial: State | None) -> Encoded:
        num_rows, num_steps = x.shape[:2]
        index = reverse_index(lengths, num_steps, x.device)
        rows = torch.arange(num_rows, device=x.device)
        last = lengths.to(x.device) - 1
        padding = None
        if int(lengths.min()) < num_steps:
            padding = ~valid_mask(lengths, num_steps, x.device).unsqueeze(-1)
            # A finite value would do no harm, since its gradient is zero; but zero times NaN is NaN. The mask takes 2
            # ms in a step of one second. The layers above read finite states and need no mask.
            x = x.masked_fill(padding, 0.0)

        def read(x: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            """(B, T, I), the four weights, and the state if any, (1, B, H) each -> states, final, cell if any."""
            weights, state = given[: len(_PARAMETER_KINDS)], given[len(_PARAMETER_KINDS) :]
            states, _, *cell = self._run_kernel(x, weights, state)
            return states, states[rows, last], *(part[0] for part in cell if initial is not None)

        def read_back(x: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            states, *rest = read(reverse_valid(x, index), *given)
            return reverse_valid(states, index), *rest

        after = []
        for layer in range(self.num_layers):
            x = self._between(x, layer)
            forward, *backward = (
                [x, *self.layer_parameters(layer, (suffix,)), *self._start(initial, layer, direction)]
                for direction, suffix in enumerate(self.suffixes)
            )
            if not backward:
                directions = [read(*forward)]
            elif x.is_cpu and get_num_threads() > 1:
                directions = in_parallel((read, read_back), (forward, *backward))
            else:
                directions = [read(*forward), read_back(*backward[0])]
            x, *state = (torch.cat(halves, dim=-1) for halves in zip(*directions, strict=True))  # (B, T, D*H)
            after.append(state)  # (B, D*H) each
        if padding is not None:
            x = x.masked_fill_(padding, 0.0)  # in place: `cat` needs none of its output for the gradient
        final, *rest = (torch.stack(layers, dim=1) for layers in zip(*after, strict=True))
        return Encoded(x, final, None if initial is None else (final, *rest))

    def _start(self, initial: State | None, layer: int, direction: int) -> list[Tensor]:
        """The part of `initial` of one layer and direction: (1, B, H) each, or nothing."""
        return [self._by_direction(part[:, layer])[direction : direction + 1] for part in initial or ()]

    def _between(self, x: Tensor, layer: int) -> Tensor:
        """Dropout on the input from the layer below."""
        return x if layer == 0 else dropout(x, self.dropout, self.training)

    def _run_kernel(
        self,
        x: Tensor,
        weights: Sequence[Tensor],
        state: Sequence[Tensor] = (),
        batch_sizes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """One layer from `state` or from zero, in as many directions as there are weights.

        Padded (B, T, I) -> (B, T, D*H), or with `batch_sizes` packed (N, I) -> (N, D*H). Then the hidden state and an
        LSTM's cell state at the end, (D, B, H) each: after step T if padded, after the last real step if packed.
        """
        num_directions = len(weights) // len(_PARAMETER_KINDS)
        num_rows = x.shape[0] if batch_sizes is None else int(batch_sizes[0])
        if state:
            start = [part.to(x.dtype).contiguous() for part in state]  # cuDNN needs it contiguous
        else:
            start = [x.new_zeros(num_directions, num_rows, self.hidden_size)] * _NUM_STATES[self.cell]
        return _KERNELS[self.cell](
            *((x,) if batch_sizes is None else (x, batch_sizes)),
            start if self.cell == "lstm" else start[0],
            weights,
            True,  # has_biases
            1,  # num_layers
            0.0,  # dropout
            torch.is_grad_enabled(),  # train: only then cuDNN keeps what the gradient needs, also in eval()
            num_directions == 2,  # bidirectional
            *((True,) if batch_sizes is None else ()),  # batch_first
        )
