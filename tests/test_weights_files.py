"""Whatever a training script saved of a ResNet-18 is taken; of anything else the message says what it is."""

import argparse
import json
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
import torchvision
from parameters import some_are_slow
from torch import nn

from resnet_course.recipes import REDUCED
from resnet_course.resnet import resnet18, resnet34, stack
from resnet_course.training import checkpoint
from resnet_course.training.checkpoint import Checkpoint
from resnet_course.transfer import WeightsError, build_model, load_weights

WIDTH = 8


def network(seed=0):
    torch.manual_seed(seed)
    return resnet18(3, WIDTH)


SOURCE = network()
STATE = SOURCE.state_dict()
TRUNK = {name: tensor for name, tensor in STATE.items() if not name.startswith("fc.")}
OTHER = network(1).state_dict()


def prefixed(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def with_head(**head):
    return TRUNK | {name.replace("__", "."): torch.zeros(size) for name, size in head.items()}


def numbered(module):
    """What is left of a network when its head is cut off in the usual way."""
    return nn.Sequential(*list(module.children())[:-1]).state_dict()


GOOD = {
    "as it is": STATE,
    "no head": TRUNK,
    "head fc.1": with_head(fc__1__weight=(3, 64), fc__1__bias=3),
    "head of two layers": with_head(fc__0__weight=(16, 64), fc__3__weight=(3, 16)),
    "head head": with_head(head__weight=(3, 64), head__norm__running_mean=3),
    "head classifier": with_head(classifier__1__weight=(3, 64)),
    "head last_linear": with_head(last_linear__weight=(3, 64)),
    "head linear": with_head(linear__weight=(3, 64), linear__bias=3),
    "projection heads": with_head(projector__0__weight=(64, 64), predictor__2__bias=3, queue=(4, 4)),
    "prefix, head outside": prefixed("backbone.", TRUNK) | {"classifier.weight": torch.zeros(3, 64)},
    "prefix and extras": prefixed("module.")
    | {"n_averaged": torch.tensor(3), "criterion.weight": torch.ones(3)},
    "compiled inside": {name.replace("layer1.", "layer1._orig_mod."): t for name, t in STATE.items()},
    "compiled whole, in parallel": prefixed("module._orig_mod."),
    "lists": [STATE, 3, "x"],
    "a tuple": (STATE, {"lr": 0.1}),
    "Lightning": {
        "state_dict": prefixed("model.") | {"loss.weight": torch.ones(3)},
        "pytorch-lightning_version": "2.0",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}],
    },
    "nested": {"checkpoint": {"model": {"backbone": STATE}}, "epoch": 3},
    "options beside": {"model": STATE, "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/a"))},
    "numpy beside": {"model": STATE, "best": np.float64(0.5), "curve": np.arange(3)},
    "average beside": {"model": STATE, "model_ema": OTHER, "optimizer": {"state": {}, "param_groups": []}},
    "timm's average beside": {"state_dict_ema": OTHER, "state_dict": STATE},
    "average in it": prefixed("model.") | prefixed("ema_model.module.", OTHER),
    "only an average": {"model_ema": STATE},
    "one network under two names": prefixed("backbone.") | prefixed("model.backbone."),
    "numbers for names": numbered(SOURCE),
    "numbers behind a prefix": prefixed("encoder.features.", numbered(SOURCE)),
    "shortcut": {name.replace("downsample", "shortcut"): t for name, t in STATE.items()},
    "parameters": {name: nn.Parameter(t) if t.is_floating_point() else t for name, t in STATE.items()},
    "no counters": {name: t for name, t in STATE.items() if "num_batches" not in name},
    "counters of one number": {n: t.reshape(1) if "num_batches" in n else t for n, t in STATE.items()},
    **{
        f"prefix {prefix}": prefixed(prefix)
        for prefix in (
            "module.",
            "model.",
            "backbone.",
            "net.",
            "_orig_mod.",
            "module.model.",
            "encoder.",
            "a.b.c.",
        )
    },
    **{
        f"key {key}": {key: STATE, "epoch": 7, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
        for key in (
            "state_dict",
            "model",
            "model_state_dict",
            "net",
            "network",
            "weights",
            "params",
            "model_ema",
            "x",
        )
    },
}


@pytest.mark.parametrize("name", some_are_slow(GOOD, quick=[*GOOD][::4]))
@pytest.mark.parametrize("new_format", [True, False])
def test_every_usual_way_to_save_a_resnet18_is_taken(tmp_path, name, new_format):
    torch.save(GOOD[name], tmp_path / "w.pth", _use_new_zipfile_serialization=new_format)
    state = build_model(5, tmp_path / "w.pth").state_dict()
    for part, tensor in TRUNK.items():
        if "num_batches" not in part:
            assert torch.equal(state[part], tensor), part
    assert state["fc.weight"].shape == (5, 64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in STATE.items()}
    torch.save(state, tmp_path / "w.pth")
    found = build_model(5, tmp_path / "w.pth").layer4[1].conv2.weight
    assert found.dtype == torch.float32
    assert torch.equal(found, SOURCE.layer4[1].conv2.weight.to(dtype).float())


def test_the_courses_own_checkpoints_are_weights_too(tmp_path):
    training = {"best": OTHER, "average": {**OTHER}, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
    for kept in (None, training):
        own = Checkpoint(
            STATE, ("a", "b", "c"), 32, "noise", REDUCED, training=kept and {**kept, "history": []}
        )
        checkpoint.save(tmp_path / "best.pt", own)
        assert torch.equal(build_model(5, tmp_path / "best.pt").conv1.weight, SOURCE.conv1.weight)


def test_a_file_that_holds_itself_a_thousand_times_is_read_quickly(tmp_path):
    content = {"model": STATE}
    content |= {f"again {number}": content for number in range(1000)}
    torch.save(content, tmp_path / "w.pth")
    assert torch.equal(load_weights(tmp_path / "w.pth")["conv1.weight"], STATE["conv1.weight"])


def test_which_of_two_copies_was_taken_is_said(tmp_path, capsys):
    torch.save(GOOD["average beside"], tmp_path / "w.pth")
    load_weights(tmp_path / "w.pth")
    assert capsys.readouterr().err == "Weights: taken from model, not from model_ema.\n"
    torch.save(STATE, tmp_path / "w.pth")
    load_weights(tmp_path / "w.pth")
    assert capsys.readouterr().err == ""


def of_torchvision(name):
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = getattr(torchvision.models, name)(weights=None, **options)
    return {key: torch.zeros(()).expand(tensor.shape) for key, tensor in model.state_dict().items()}


def changed(name, change):
    return {**STATE, name: change(STATE[name].clone())}


def with_nan(tensor):
    tensor.view(-1)[:2] = torch.tensor([float("nan"), float("inf")])
    return tensor


def without(*ends):
    return {name: tensor for name, tensor in STATE.items() if not name.endswith(ends)}


HUGGING_FACE = {
    "resnet.embedder.embedder.convolution.weight": torch.zeros(8, 3, 7, 7),
    **{
        f"resnet.encoder.stages.{stage}.layers.{block}.layer.{layer}.convolution.weight": torch.zeros(
            8, 8, 3, 3
        )
        for stage in range(4)
        for block in range(2)
        for layer in range(2)
    },
}
CIFAR_STEM = changed("conv1.weight", lambda tensor: tensor[:, :, :3, :3])
OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}

BAD = {
    "teacher and student": (
        {"student": STATE, "teacher": OTHER},
        "2 networks, with names that begin with 'student.', 'teacher.'",
    ),
    "one without a prefix": (
        STATE | prefixed("teacher.", OTHER),
        "2 networks, with names that begin with no prefix, 'teacher.'",
    ),
    "two encoders": (
        prefixed("module.encoder_q.") | prefixed("module.encoder_k.", OTHER),
        "holds 2 networks, with names that begin with 'module.encoder_q.', 'module.encoder_k.'",
    ),
    "ResNet-34": (resnet34(3, WIDTH).state_dict(), "this looks like a ResNet-34; tensors "),
    "ResNet-34 in parallel": (
        prefixed("module.", resnet34(3, WIDTH).state_dict()),
        "this looks like a ResNet-34;",
    ),
    "CIFAR stem": (CIFAR_STEM, "this looks like a ResNet-18 for CIFAR: its stem conv1 is a 3x3 convolution"),
    "grey": (changed("conv1.weight", lambda t: t[:, :1]), "a ResNet-18 for images of 1 channel, not of 3"),
    "ResNet-20": (
        {
            f"layer{s}.{b}.conv{c}.weight": torch.zeros(4, 4, 3, 3)
            for s in (1, 2, 3)
            for b in range(3)
            for c in (1, 2)
        },
        "this looks like a ResNet-20 for CIFAR",
    ),
    "a stack of the course": (stack(20, width=4).state_dict(), "this looks like a ResNet-20 for CIFAR"),
    "Hugging Face": (
        HUGGING_FACE,
        "a ResNet as Hugging Face names its parts (ResNet-18); give the weights with",
    ),
    "optimizer": (OPTIMIZER, "holds the state of an optimizer and no network"),
    "optimizer and epoch": (
        {"optimizer": OPTIMIZER, "epoch": 3},
        "holds the state of an optimizer and no network",
    ),
    "no statistics": (
        without("running_mean", "running_var", "num_batches_tracked"),
        "40 missing: bn1.running_mean, bn1.running_var, layer1.0.bn1.running_mean …; they are BatchNorm's",
    ),
    "one statistic": (
        without("layer2.0.bn1.running_var"),
        "1 missing: layer2.0.bn1.running_var; they are BatchNorm's",
    ),
    "one convolution": (without("layer2.0.conv1.weight"), "1 missing: layer2.0.conv1.weight"),
    "no stem": (without("conv1.weight"), "missing: conv1.weight"),
    "NaN": (
        changed("layer3.1.bn2.weight", with_nan),
        "2 of the 32 numbers of layer3.1.bn2.weight are not finite",
    ),
    "infinite in float32": (
        {n: t.double() * (1e300 if n == "conv1.weight" else 1) for n, t in STATE.items()},
        "of conv1.weight are not finite",
    ),
    "negative variance": (
        changed("bn1.running_var", lambda t: t - 3),
        "bn1.running_var has a variance of -2",
    ),
    "whole numbers": (
        changed("conv1.weight", lambda tensor: tensor.to(torch.int8)),
        "conv1.weight is int8; it must be float32",
    ),
    "sparse": (changed("bn1.weight", lambda tensor: tensor.to_sparse()), "bn1.weight is sparse_coo"),
    "no numbers": (
        {name: tensor.to("meta") for name, tensor in STATE.items()},
        "conv1.weight is on the device meta",
    ),
    "a list": ([1, 2, 3], "holds no state dict (a dict from names to tensors); it holds a list"),
    "parameters": ([torch.zeros(3), torch.zeros(2)], "holds tensors without names; save model.state_dict()"),
    "a tensor": (torch.zeros(3), "it holds a single tensor"),
    "numbers": ({"epoch": 3, "loss": 0.5}, "its keys are epoch, loss"),
    "empty": ({}, "holds no state dict"),
    "anything": (
        {"weight": torch.zeros(3), "bias": torch.zeros(3)},
        "it has none of its parts conv1, bn1 and layer1 to layer4, but weight",
    ),
    "module": (SOURCE, "holds a whole pickled network, as torch.save(model) writes"),
    "module in a dict": ({"model": SOURCE, "epoch": 3}, "save model.state_dict() instead"),
}
LOOKS = {
    "resnet50": "a ResNet-50",
    "resnet101": "a ResNet-101",
    "wide_resnet50_2": "a Wide ResNet-50-2",
    "resnext50_32x4d": "a ResNeXt-50 (32 groups)",
    "vgg11": "a VGG network or an AlexNet",
    "alexnet": "a VGG network or an AlexNet",
    "densenet121": "a DenseNet",
    "mobilenet_v2": "a MobileNet",
    "mobilenet_v3_small": "a MobileNet",
    "squeezenet1_1": "a SqueezeNet",
    "shufflenet_v2_x1_0": "a ShuffleNet",
    "vit_b_32": "a vision transformer",
    "swin_t": "a Swin transformer",
    "convnext_tiny": "a ConvNeXt",
    "googlenet": "an Inception network or a GoogLeNet",
    "efficientnet_b0": "an EfficientNet",
    "regnet_x_400mf": "a RegNet",
}


def refusal(path):
    with pytest.raises(WeightsError) as error:
        load_weights(path)
    text = str(error.value)
    assert "\n" not in text and str(path) in text
    return text


@pytest.mark.parametrize("name", some_are_slow(BAD, quick=[*BAD][::3]))
@pytest.mark.parametrize("new_format", [True, False])
def test_what_does_not_fit_is_named(tmp_path, name, new_format):
    if name == "no numbers" and not new_format:
        pytest.skip("the old format cannot hold them")
    content, message = BAD[name]
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=new_format)
    assert message in refusal(tmp_path / "w.pth")


@pytest.mark.parametrize("name", some_are_slow(LOOKS, quick=[*LOOKS][::4]))
def test_other_networks_of_torchvision_are_recognised(tmp_path, name):
    torch.save(of_torchvision(name), tmp_path / "w.pth")
    assert f"this looks like {LOOKS[name]}" in refusal(tmp_path / "w.pth")


def safetensors():
    header = json.dumps({"conv1.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def onnx():
    """The top level of one, as PyTorch writes it: version, producer, graph, operator sets."""
    graph = b"\x0a\x03abc"
    return b"\x08\x08\x12\x07pytorch\x1a\x032.0" + b"\x3a" + bytes([len(graph)]) + graph + b"\x42\x02\x10\x11"


def zipped(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")

    return write


FILES = {
    "safetensors": (safetensors(), "it is a safetensors file; read it with safetensors.torch.load_file"),
    "onnx": (onnx(), "it is an ONNX model"),
    "saved model": (b"\x08\x01\x12\x03abc", "it is a TensorFlow SavedModel"),
    "lite": (b"\x1c\x00\x00\x00TFL3", "it is a TensorFlow Lite model"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(90), "it is an HDF5 file, as Keras writes"),
    "keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "it is a Keras model"),
    "npz": (zipped("a.npy", "b.npy"), "it is a file of numpy arrays"),
    "zipped weights": (
        zipped("resnet18.pth"),
        "it is a zip archive, which holds 'resnet18.pth'; unpack it first",
    ),
    "npy": (b"\x93NUMPY\x01\x00", "it is an array of numpy"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(20), "it is packed with gzip; unpack it first"),
    "tar": (bytes(257) + b"ustar" + bytes(250), "it is a tar archive; unpack it first"),
    "page": (b"\n<!DOCTYPE html>\n<HTML>", "it is a web page; the download brought a page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "it is a pointer of Git LFS"),
    "gguf": (b"GGUF\x03", "it is a GGUF file"),
    "empty": (b"", "it is empty"),
    "png": (b"\x89PNG\r\n\x1a\n", "it is an image (PNG)"),
    "words": (b"not weights at all", "it is a text file, which begins with 'not weights at all'"),
    "an answer": (
        b'{"message": "Not Found"}',
        'it is a text file, which begins with \'{"message": "Not Found"}\'',
    ),
    "XML": (b"<?xml version='1.0'?>\n<Error/>", "it is a text file, which begins with"),
    "a plain pickle": (pickle.dumps({"conv1.weight": 3}), "it is a pickle of another program"),
    "noise": (bytes(range(1, 200)) * 9, "was not written by torch.save, or is cut short or damaged"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_named_by_its_content(tmp_path, name):
    content, message = FILES[name]
    path = tmp_path / "w.pth"
    content(path) if callable(content) else path.write_bytes(content)
    assert message in refusal(path)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_program_is_named(tmp_path):
    torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)).save(tmp_path / "w.pth")
    assert "it is a TorchScript program; load it with torch.jit.load" in refusal(tmp_path / "w.pth")


def test_a_file_that_is_cut_short_is_named(tmp_path):
    torch.save(STATE, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    for size in (5, 1000, len(content) // 2, len(content) - 30):
        (tmp_path / "w.pth").write_bytes(content[:size])
        assert "is cut short: it begins as what torch.save writes" in refusal(tmp_path / "w.pth")


class Malicious:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


def test_what_could_run_is_refused_and_named_whatever_lies_beside_it(tmp_path):
    options = argparse.Namespace(hidden=Malicious())
    for content in ({"model": STATE, "x": Malicious()}, {"model": STATE, "args": options}):
        torch.save(content, tmp_path / "w.pth")
        assert "exec); loading it could run" in refusal(tmp_path / "w.pth")
    objects = np.array([Malicious()], dtype=object)
    (tmp_path / "w.pth").write_bytes(pickle.dumps(objects, protocol=2))
    refusal(tmp_path / "w.pth")
