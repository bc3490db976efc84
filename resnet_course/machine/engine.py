"""How the machine computes: device, precision, memory layout, threads."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from resnet_course.machine import devices, distributed
from resnet_course.machine.convolutions import Computing, Convolutions
from resnet_course.machine.limits import threads_here
from resnet_course.machine.memory import keeping_memory

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


@dataclass(frozen=True)
class Engine:
    """How this machine computes: where, in which precision, in which memory layout, on how many threads.

    device: "cpu", "cuda", "cuda:1", "mps", … as `machine.device()` returns it.
    precision: "fp32", or "bf16": matrix products in bfloat16, weights, loss and BatchNorm in float32.
    memory_format: "channels_last" or "contiguous".
    threads: of the processor; None: as many as PyTorch uses already, within `threads_here()`.
    layer4_format: the layout of layer4, if its small maps are faster in another one; None: memory_format.
    convolutions: the ways of those that learn (see `machine.tuned`); None: PyTorch's.
    frozen: "int8" where that is the precision of what is frozen, but for its stem (see `transfer.quantized`);
        None: `precision`.
    """

    device: str
    precision: str
    memory_format: str
    threads: int | None = None
    layer4_format: str | None = None
    convolutions: Convolutions | None = None
    frozen: str | None = None

    @classmethod
    def of(cls, network: nn.Module) -> Engine:
        """The engine that takes a network as it is: where its weights are, in their layout, in float32."""
        weights = list(network.parameters())
        maps = next((weight for weight in weights if weight.ndim == 4), None)
        contiguous = maps is None or maps.is_contiguous()
        return cls(
            str(weights[0].device) if weights else "cpu",
            "fp32",
            "contiguous" if contiguous else "channels_last",
        )

    def place(self, module_or_tensor: nn.Module | Tensor) -> nn.Module | Tensor:
        """Move a network or a batch of images to the device and the layout, layer4 to its own.

        A network is changed itself and stays there; `hosting` brings it back afterwards.
        """
        if isinstance(module_or_tensor, Tensor):
            on_card = devices.kind_of(self.device) == "cuda"
            if on_card and not module_or_tensor.is_cuda:
                # From pinned memory the copy runs while the GPU still computes the step before.
                module_or_tensor = module_or_tensor.pin_memory()
            layout = FORMATS[self.memory_format]
            return module_or_tensor.to(self.device, memory_format=layout, non_blocking=on_card)
        layer4 = getattr(module_or_tensor, "layer4", None)
        if self.layer4_format is None or layer4 is None:
            return module_or_tensor.to(self.device, memory_format=FORMATS[self.memory_format])
        for part in module_or_tensor.children():  # one by one, so that layer4 is not changed there and back
            layout = self.layer4_format if part is layer4 else self.memory_format
            part.to(self.device, memory_format=FORMATS[layout])
        if not _hooks(layer4):
            layer4.register_forward_pre_hook(_in_the_layout_of_its_weights)
        return module_or_tensor

    @contextlib.contextmanager
    def hosting(self, model: nn.Module) -> Iterator[nn.Module]:
        """Within it the model is on the engine's device and in its layout; afterwards it is where it was.

        Device, layout and hooks are brought back, weights keep the values that they have by then, and every
        Parameter stays the same object. What is there already is not copied.
        """
        tensors = dict(itertools.chain(model.named_parameters(), model.named_buffers()))
        before = {name: (tensor.device, tensor.stride()) for name, tensor in tensors.items()}
        layer4 = getattr(model, "layer4", None)
        had_hooks = layer4 is None or bool(_hooks(layer4))
        try:
            with torch.inference_mode(False):  # what is moved within that could take no gradient afterwards
                self.place(model)
            yield model
        finally:
            with torch.inference_mode(False), torch.no_grad():
                for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
                    if name in before:
                        _bring_back(tensor, *before[name])
            if not had_hooks:
                for number in _hooks(layer4):
                    del layer4._forward_pre_hooks[number]

    def computing_as(self, convolutions: Convolutions) -> Engine:
        """This engine with these ways of convolutions; if any is not PyTorch's, all lies channels-last."""
        layout = {"memory_format": "channels_last", "layer4_format": None} if convolutions else {}
        return replace(self, convolutions=convolutions, **layout)

    def with_frozen_in_int8(self, train_from: str) -> Engine:
        """This engine, with all before `train_from` in int8; a layout of layer4's own is for what learns."""
        layer4_format = None if train_from == "fc" else self.layer4_format
        return replace(self, frozen="int8", layer4_format=layer4_format)

    def for_batches_of(self, count: int) -> Engine:
        """This engine with its ways of convolutions for batches of so many images."""
        if self.convolutions is None:
            return self
        return replace(self, convolutions=replace(self.convolutions, batch=count))

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The context of a forward pass: the engine's precision, and its ways of convolutions that learn."""
        ways = Computing(self.convolutions) if self.convolutions else contextlib.nullcontext()
        kind = devices.kind_of(self.device)
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"), ways:
            yield

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Within it PyTorch uses the engine's number of threads and keeps its memory.

        While other processes wait for this one (see `distributed.local_main_process_first`), it uses their
        cores too.
        """
        before = torch.get_num_threads()
        threads = self.threads or min(before, threads_here())
        if distributed.thread_multiplier() > 1:
            threads = max(threads, min(threads * distributed.thread_multiplier(), threads_here()))
        torch.set_num_threads(threads)
        try:
            with keeping_memory():
                yield
        finally:
            torch.set_num_threads(before)

    def __str__(self) -> str:
        on = f"{self.device}, {self.precision}, {self.memory_format.replace('_', '-')}"
        if self.layer4_format:
            on += f" (layer4 {self.layer4_format.replace('_', '-')})"
        if self.frozen:
            on += f", what is frozen in {self.frozen}"
        if self.threads is not None:
            on += f", {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{on}, {self.convolutions}" if self.convolutions else on


def _bring_back(tensor: Tensor, device: torch.device, stride: tuple[int, ...]) -> None:
    """Give a parameter or buffer, and its gradient, the device and the strides that it had."""
    for moved in (tensor, tensor.grad if tensor.is_leaf else None):
        if moved is not None and (moved.device, moved.stride()) != (device, stride):
            moved.data = torch.empty_strided(moved.shape, stride, dtype=moved.dtype, device=device).copy_(
                moved
            )


def _hooks(layer4: nn.Module) -> list[int]:
    """The numbers of those of its hooks that change the layout of its input."""
    hooks = layer4._forward_pre_hooks.items()
    return [number for number, hook in hooks if hook is _in_the_layout_of_its_weights]


def _in_the_layout_of_its_weights(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """The input of a module as its convolutions want it; of two layouts they would compute in the slower."""
    weight = next(module.parameters())
    layout = torch.contiguous_format if weight.is_contiguous() else torch.channels_last
    return (inputs[0].contiguous(memory_format=layout),)
