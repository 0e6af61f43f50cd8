"""The layers of known networks, against what their papers count."""

from __future__ import annotations

import json

import pytest

from tilewright.cli.layers import LAYERS
from tilewright.cli.main import OPERATORS, main, make_parser
from tilewright.cli.operators import understand
from tilewright.cli.tune import make_task


def multiply_adds(name: str) -> int:
    """Count the multiply-adds of a layer from its shape, in padding too."""
    layer = LAYERS[name]
    match layer.operator, layer.shape:
        case "conv2d", (n, ci, h, w, co, k, s, p):
            return n * co * ((h + 2 * p - k) // s + 1) * ((w + 2 * p - k) // s + 1) * ci * k * k
        case "depthwise_conv2d", (n, c, h, w, k, s, p):
            return n * c * ((h + 2 * p - k) // s + 1) * ((w + 2 * p - k) // s + 1) * k * k
    raise AssertionError(layer)


def test_resnet18_has_the_rows_of_the_table_it_is_numbered_by() -> None:
    assert [name for name in LAYERS if name.startswith("resnet18")] == [f"resnet18.C{n}" for n in range(1, 13)]
    assert LAYERS["resnet18.C1"].shape == (1, 3, 224, 224, 64, 7, 2, 3)
    assert LAYERS["resnet18.C6"].shape == (1, 128, 28, 28, 128, 3, 1, 1)
    assert LAYERS["resnet18.C12"].shape == (1, 512, 7, 7, 512, 3, 1, 1)


def test_resnet18_has_the_operations_of_the_paper() -> None:
    times = {
        1: 1,
        2: 4,
        4: 1,
        5: 1,
        6: 3,
        7: 1,
        8: 1,
        9: 3,
        10: 1,
        11: 1,
        12: 3,
    }
    total = sum(count * multiply_adds(f"resnet18.C{number}") for number, count in times.items())
    assert total == pytest.approx(1.8e9, rel=0.01)  # He et al., table 1: 1.8e9, of which the last layer has 0.5e6


def test_resnet50_has_the_operations_that_are_known_of_it() -> None:
    last = 2048 * 1000
    total = multiply_adds("resnet50.stem") + last
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        stride = 1 if stage == 2 else 2
        once = ("reduce1", f"3x3s{stride}", "shortcut")
        total += sum(multiply_adds(f"resnet50.conv{stage}_{name}") for name in once)
        total += blocks * multiply_adds(f"resnet50.conv{stage}_expand")
        total += (blocks - 1) * sum(multiply_adds(f"resnet50.conv{stage}_{name}") for name in ("reduce", "3x3"))
    assert round(total / 1e6) == 4089  # torchvision's documentation of resnet50: 4.09e9


def test_mobilenet_has_the_operations_of_the_paper() -> None:
    total = sum(multiply_adds(name) for name in LAYERS if name.startswith("mobilenet."))
    last = 1024 * 1000
    assert round((total + last) / 1e6) == 569  # Howard et al., table 4: 569 million


def test_a_network_has_depthwise_convolutions_by_5x5_windows() -> None:
    depthwise = [layer for layer in LAYERS.values() if layer.operator == "depthwise_conv2d"]
    named = [layer for layer in depthwise if layer.name.startswith("efficientnet")]
    assert [layer.shape[1] for layer in named if layer.shape[4] == 5] == [144, 240, 480, 672, 672, 1152]


def test_bert_has_the_weights_of_the_paper() -> None:
    weights = {name: layer.shape[1] * layer.shape[2] for name, layer in LAYERS.items() if layer.operator == "dense"}
    block = 4 * weights["bert.projection"] + weights["bert.ffn_up"] + weights["bert.ffn_down"]
    assert weights["bert.qkv"] == 3 * weights["bert.projection"]
    assert 12 * block == 84_934_656  # of the 110 million; the rest are embeddings, biases and norms


DISTINCT = {(layer.operator, layer.shape, layer.flags): name for name, layer in LAYERS.items()}


@pytest.mark.parametrize("name", DISTINCT.values())
def test_every_layer_can_be_tuned(name: str) -> None:
    layer = LAYERS[name]
    options = make_parser().parse_args([layer.operator, "--layer", name, "--threads", "1"])
    task = make_task(understand(options))
    assert len(task.config_space) > 1
    if layer.operator.endswith("conv2d"):
        assert task.flop == 2 * multiply_adds(name)


def test_the_list_names_every_operator_and_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    words = capsys.readouterr().out.split()
    assert {*LAYERS, *(operator.name for operator in OPERATORS)} <= set(words)


def test_the_list_of_one_network_is_its_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "bert", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == [name for name in LAYERS if name.startswith("bert")]
    assert listed[3] == {
        "name": "bert.context", "operator": "batch_matmul", "shape": [12, 128, 64, 128], "transpose_b": False
    }  # fmt: skip
