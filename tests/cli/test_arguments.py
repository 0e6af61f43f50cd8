"""What the command line means, and what it says where it means nothing."""

from __future__ import annotations

import argparse

import pytest

import tilewright
from tilewright.cli.arguments import UsageError, duration_s, near, read_shape
from tilewright.cli.main import main, make_parser
from tilewright.cli.operators import Request, understand


def request_of(*words: str) -> Request:
    return understand(make_parser().parse_args(list(words)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("10m", 600), ("1h", 3600), ("1.5h", 5400), ("1m30s", 90), ("45", 45), ("0.5", 0.5)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5x", "60 s", "1m30", "-5s", "0s", "0", "1e3", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, UsageError)):
        duration_s(text)


def test_only_padding_may_be_zero() -> None:
    assert read_shape("1, 3,0", ("N", "K", "P")) == (1, 3, 0)


def test_a_misspelt_word_brings_up_the_nearest_in_its_own_spelling() -> None:
    assert near("RESNET18.c6", ["resnet18.C5", "resnet18.C6", "bert.qkv"]).startswith("resnet18.C6")
    assert near("zzz", ["resnet18.C6"], "otherwise") == "otherwise"


USAGE = [  # words (~ is a space within one), what is wrong, what is advised
    ("conv3d", "there is no operator or command 'conv3d'", "conv2d"),
    ("frobnicate", "there is no operator or command 'frobnicate'", "one of conv2d, conv2d_transpose"),
    ("conv2d", "one of the arguments --layer --shape is required", "autotune conv2d --help"),
    ("conv2d --layer resnet18.C6 --shape 1,1,1,1,1,1,1,0", "not allowed with argument --layer", "--help"),
    ("conv2d --layer resnet18.C66", "there is no layer 'resnet18.C66'", "resnet18.C6"),
    ("conv2d --layer x", "there is no layer 'x'", "autotune list"),
    ("matmul --layer resnet18.C6", "resnet18.C6 is a layer of conv2d", "autotune conv2d --layer resnet18.C6"),
    ("conv2d --layer resnet18.C6 --laout NHWC", "there is no flag --laout", "--layout"),
    ("conv2d --layer resnet18.C6 --layout=NCWH", "unknown layout 'NCWH'", "NCHW, NHWC, or NCHW[x]c"),
    ("conv2d --layer resnet18.C1 --layout NCHW16c", "3 input and 64 output channels", "NCHW or NHWC"),
    ("conv2d --layer resnet18.C6 more", "unrecognized arguments: more", "autotune conv2d --help"),
    ("conv2d resnet18.C6", "unrecognized arguments: resnet18.C6", "--layer resnet18.C6"),
    ("matmul 8,9,10", "unrecognized arguments: 8,9,10", "--shape 8,9,10"),
    ("matmul --shape 8 9 10", "unrecognized arguments: 9 10", "--shape 8,9,10"),
    ("matmul --shape 8x9x10", "numbers of the shape 8x9x10 are not divided by commas", "--shape 8,9,10"),
    ("help matmul", "there is no command 'help'", "autotune matmul --help"),
    ("conv2d --layer C6", "there is no layer 'C6'", "resnet18.C6"),
    ("conv2d --layer resnet50.conv3", "there is no layer", "resnet50.conv3_reduce1, resnet50.conv3_3x3s2"),
    ("depthwise_conv2d --layer mobilenetv2.dw9", "no layer 'mobilenetv2.dw9'", "mobilenetv2.dw"),
    ("matmul --shape 8,8,8 --dtype fp32", "there is no data type 'fp32'", "float32"),
    ("matmul --shape 1,2", "the shape 1,2 has 2 numbers, not 3", "--shape M,N,K"),
    ("matmul --shape 1,2,0", "K in the shape 1,2,0 is '0', not an integer of at least 1", "--shape M,N,K"),
    ("matmul --shape 1,2,k", "K in the shape 1,2,k is 'k'", "--shape M,N,K"),
    ("conv2d --shape 1,3,4,4,8,7,1,1", "a kernel of 7 does not fit in an image of 4", "padding of at least 2"),
    ("conv2d_transpose --shape 1,8,4,4,8,3,2,1 --output-padding 2", "2 with a stride of 2", "less than 2"),
    ("conv2d_transpose --shape 1,8,2,2,8,2,1,2", "padding 2 leaves nothing of 3 elements", "less padding"),
    ("conv2d_transpose --layer dcgan.up1 --layout NCHW16c", "no such schedule in layout NCHW16c", "NCHW or NHWC"),
    ("dense --shape 8,8,8 --epilogue relu,bias", "'relu,bias' is no epilogue", "bias, residual and one of relu"),
    ("conv2d --layer resnet18.C6 --relative-error 0", "'0' is not a number above 0 and at most 1", "--help"),
    ("conv2d --layer resnet18.C6 --relative-error nan", "'nan' is not a number above 0", "--help"),
    ("conv2d --layer resnet18.C6 --relative-error 2", "'2' is not a number above 0 and at most 1", "--help"),
    ("conv2d --layer resnet18.C6 --relative-error some", "'some' is not a number above 0", "--help"),
    ("conv2d --layer resnet18.C6 --relative-error 1e-6", "direct evaluation may be off by 3.3e-05", "or more"),
    ("conv2d --layer resnet18.C6 --relative-error 1e-4 --dtype int8", "of int32, which are exact", "None"),
    (
        "conv2d --layer resnet18.C6 --relative-error 1e-4 --target cuda --device emulate",
        "no schedule for a GPU",
        "cess",
    ),
    ("matmul --shape 8,8,8 --relative-error 1e-4", "there is no flag --relative-error", "--help"),
    ("matmul --shape 8,8,8 --time soon", "'soon' is no duration", "60s, 10m"),
    ("matmul --shape 8,8,8 --trials 0", "'0' is not an integer of at least 1", "--help"),
    ("matmul --shape 8,8,8 --threads many", "'many' is not an integer of at least 1", "--help"),
    ("matmul --shape 8,8,8 --threads 257", "257 threads are more than 256", "--help"),
    ("conv2d --shape 1,8,8,8,9,3,1,1 --groups 4", "8 input and 9 output channels in 4 groups", "divides both"),
    ("matmul --shape 8,8,8 --seed -1", "'-1' is not an integer of at least 0", "--help"),
    ("matmul --shape 8,8,8 --tuner xgd", "there is no tuner 'xgd'", "xgb"),
    ("matmul --shape 8,8,8 --target hip", "unknown kind in 'hip'", "--help"),
    ("matmul --shape 8,8,8 --dtype float8", "there is no data type 'float8'", "float16"),
    ("softmax --shape 8,8 --dtype int8", "there is no data type 'int8'", "one of float32"),
    ("matmul --shape 8,8,8 --target cuda --device tpu", "there is no device 'tpu'", "gpu:1 for the second"),
    ("matmul --shape 8,8,8 --device emulate", "--device is for a GPU, not for --target llvm", "--target cuda"),
    ("matmul --shape 8,8,8 --build-only -o b", "--build-only is for a GPU", "--target cuda"),
    ("matmul --shape 8,8,8 --target cuda --build-only", "--build-only and -o BUNDLE go together", "-o BUNDLE"),
    ("matmul --shape 8,8,8 --target cuda --device emulate -o b", "go together", "--build-only"),
    ("matmul --target cuda --device emulate", "one of the arguments --layer --shape is required", "matmul --help"),
    ("matmul --shape 8,8,8 --target cuda --device emulate --threads 2", "--threads is for processors", "no --threads"),
    ("matmul --shape 8,8,8 --target cuda --device gpu --build-only -o b", "--build-only runs none", "measure"),
    ("matmul --shape 8,8,8 --target lvm", "unknown kind in 'lvm'", "--help"),
    ("matmul --shape 8,8,8 --target llvm~-vector-width=100", "vectors have 64, 128, 256, 512", "--help"),
    ("matmul --shape 8,8,8 --target llvm~-registers=0", "0 is less than 1; a number, as in", "--help"),
    (
        "matmul --shape 8,8,8 --target llvm~-mtriple=x86_64-linux~-mcpu=znver44",
        "-mcpu=znver44 is no processor that LLVM knows",
        "znver4",
    ),
    (
        "matmul --shape 8,8,8 --target llvm~-mtriple=x86_64-linux~-mattr=+avx5l2f",
        "+avx5l2f in -mattr is no feature",
        "avx512f",
    ),
    ("matmul --shape 8,8,8 --json /nowhere/a.json", "/nowhere/a.json cannot be written", "--json"),
    ("records exprt", "invalid choice: 'exprt'", "--help"),
    ("records export", "required: key", "--help"),
    ("records --dbb x", "there is no flag --dbb", "--db"),
    ("qmatmul --shape 8,8,8 --data-zero 256", "--data-zero 256 is no uint8", "0 to 255"),
    ("qmatmul --shape 8,8,8 --out-dtype int8 --zero-point -129", "--zero-point -129 is no int8", "-128 to 127"),
    ("qmatmul --shape 8,8,8 --zero-point x", "'x' is not an integer", "--help"),
    ("qmatmul --shape 8,8,8 --multiplier 0", "'0' is not a number above 0", "--help"),
    ("qmatmul --shape 8,8,8 --multiplier much", "'much' is not a number above 0", "--help"),
    ("qmatmul --shape 8,8,8 --dtype float32", "there is no data type 'float32'", "int8"),
    ("qmatmul --shape 8,8,8 --out-dtype int32", "there is no type of a byte 'int32'", "int8"),
    ("qmatmul --shape 8,8", "the shape 8,8 has 2 numbers, not 3", "--shape M,N,K"),
    ("qmatmul --shape 8,8,8 --target cuda --device emulate", "no schedule for a GPU", "a processor"),
    ("qmatmul --layer resnet18.C6", "resnet18.C6 is a layer of conv2d", "autotune conv2d"),
    ("qconv2d --layer bert.qkv", "bert.qkv is a layer of dense", "autotune dense"),
    ("qconv2d --shape 1,3,4,4,8,7,1,1", "a kernel of 7 does not fit in an image of 4", "padding of at least 2"),
    ("qconv2d --shape 1,6,8,8,6,3,1,1 --groups 3", "6 output channels in 3 groups", "NCHW or NHWC"),
    ("qdepthwise_conv2d --shape 1,16,8,8,3,1,1 --layout NCHW16c", "no such schedule in layout", "NCHW or NHWC"),
    ("qdepthwise_conv2d --shape 1,6,8,8,3,1,1 --clip 3 256", "--clip 256 is no uint8", "0 to 255"),
    ("qmatmul --shape 1,2,3 --clip 3 x", "'x' is not an integer", "--help"),
    ("qconv2d --layer resnet18.C3 --residual 1 300 1 0", "--residual 300 is no uint8", "0 to 255"),
    ("qmatmul --shape 1,2,3 --residual 1 0 -1 0", "--residual: '-1' is not a number above 0", "0.8 0 1.1 0"),
    ("qconv3d", "there is no operator or command 'qconv3d'", "qconv2d"),
    ("list resnet", "there is no network 'resnet'", "resnet18"),
    ("--hepl", "unrecognized arguments: --hepl", "--help"),
]


@pytest.mark.parametrize(("words", "fact", "advice"), USAGE, ids=[words for words, _, _ in USAGE])
def test_a_wrong_command_line_gives_one_message_and_status_2(
    words: str, fact: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main([word.replace("~", " ") for word in words.split()])
    except SystemExit as left:  # argparse's own refusals
        status = left.code
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert status == 2
    assert first.startswith("autotune") and fact in first
    assert second.startswith("try: ") and advice in second
    assert said.out == ""


def test_no_words_at_all_bring_up_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: autotune")


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"tilewright {tilewright.__version__}\n"


COMMANDS = ["", *make_parser().subcommands(), "records export"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_documents_its_exit_status(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--help"])
    assert left.value.code == 0
    documented = capsys.readouterr().out.partition("exit status:\n")[2]
    assert [line.split()[0] for line in documented.splitlines()][:1] == ["0"]
    assert "\n  2  " in documented


def test_a_minute_is_the_limit_where_none_is_given() -> None:
    assert request_of("matmul", "--shape", "8,8,8").time_s == 60
    assert request_of("matmul", "--shape", "8,8,8", "--trials", "5").time_s is None
    assert request_of("matmul", "--shape", "8,8,8", "--trials", "5", "--time", "2m").time_s == 120


def test_template_arguments_follow_the_shape_and_the_flags() -> None:
    words = ("conv2d", "--shape", "2,32,15,14,64,3,2,1", "--layout", "NHWC", "--dilation", "2", "--groups", "4")
    assert request_of(*words, "--variable-weights").template_args == ((2, 32, 15, 14), (64, 3, 3), 2, 1, 2, 4, "NHWC")
    words = ("depthwise_conv2d", "--shape", "2,32,15,14,3,2,1")
    assert request_of(*words).template_args == ((2, 32, 15, 14), (3, 3), 2, 1, 1, "NCHW")
    words = ("conv2d_transpose", "--shape", "1,8,5,6,4,3,2,1", "--output-padding", "1", "--layout", "NHWC")
    assert request_of(*words).template_args == ((1, 8, 5, 6), (4, 3, 3), 2, 1, 1, 1, "NHWC", "float32", True)
    assert request_of("matmul", "--shape", "1,2,3", "--transpose-b").template_args == (1, 2, 3, False, True)
    assert request_of("dense", "--shape", "1,2,3", "--variable-weights").template_args == (1, 2, 3)
    assert request_of("batch_matmul", "--shape", "4,1,2,3").template_args == (4, 1, 2, 3, True)
    assert request_of("batch_matmul", "--shape", "4,1,2,3", "--no-transpose-b").template_args == (4, 1, 2, 3, False)


def test_weights_are_constant_on_a_processor_unless_they_are_said_to_vary() -> None:
    words = ("conv2d", "--shape", "1,8,4,4,8,1,1,0")
    whatever = ((1, 8, 4, 4), (8, 1, 1), 1, 0, 1, 1, "NCHW")
    assert request_of(*words).template_args == (*whatever, "float32", True)
    assert request_of(*words, "--variable-weights").template_args == whatever
    assert request_of(*words, "--target", "cuda -arch=sm_80").template_args == whatever
    assert request_of("dense", "--shape", "1,2,3").template_args == (1, 2, 3, "float32", True)


def test_an_epilogue_is_the_last_argument() -> None:
    words = ("--shape", "1,16,8,8,3,1,1", "--epilogue", "bias,relu6")
    assert request_of("depthwise_conv2d", *words).template_args[-2:] == ("float32", "bias,relu6")
    words = ("--shape", "1,2,3", "--epilogue", "bias,gelu")
    assert request_of("matmul", *words).template_args[-3:] == ("float32", False, "bias,gelu")
    assert request_of("dense", *words).template_args[-3:] == ("float32", True, "bias,gelu")


def test_an_accepted_error_follows_the_epilogue() -> None:
    words = ("conv2d", "--shape", "1,8,4,4,8,3,1,1", "--relative-error", "2e-4")
    assert request_of(*words).template_args[-4:] == ("float32", True, "", 2e-4)


def test_a_factor_varies_unless_it_is_said_to_be_constant() -> None:
    assert request_of("matmul", "--shape", "1,2,3").template_args == (1, 2, 3, False, False)
    wanted = (1, 2, 3, False, False, "float32", True)
    assert request_of("matmul", "--shape", "1,2,3", "--constant-b").template_args == wanted
    wanted = (4, 1, 2, 3, True, "float32", True)
    assert request_of("batch_matmul", "--shape", "4,1,2,3", "--constant-b").template_args == wanted


def test_a_data_type_is_the_last_argument_of_the_template() -> None:
    words = ("dense", "--shape", "1,2,3", "--variable-weights")
    assert request_of(*words, "--dtype", "int8").template_args == (1, 2, 3, "int8")
    words = ("conv2d", "--shape", "1,8,4,4,8,1,1,0", "--variable-weights", "--dtype", "float16")
    assert request_of(*words).template_args == ((1, 8, 4, 4), (8, 1, 1), 1, 0, 1, 1, "NCHW", "float16")
    assert request_of("reduction", "--shape", "4,5", "--dtype", "bfloat16").template_args == (
        4,
        5,
        1,
        "sum",
        "bfloat16",
    )
    words = ("dense", "--shape", "1,2,3", "--variable-weights", "--dtype", "float32")
    assert request_of(*words).template_args == (1, 2, 3)


def test_products_and_convolutions_of_bytes_take_types_scale_bias_and_zeros() -> None:
    words = ("qmatmul", "--shape", "1,2,3")
    assert request_of(*words).template_args == (1, 2, 3, False, "uint8", "uint8", None, False, 0, 0, True)
    more = ("--transpose-b", "--dtype", "int8", "--out-dtype", "int8", "--multiplier", "0.5", "--bias")
    zeros = ("--data-zero", "-3", "--zero-point", "7", "--variable-weights")
    wanted = (1, 2, 3, True, "int8", "int8", 0.5, True, -3, 7, False)
    assert request_of(*words, *more, *zeros).template_args == wanted
    words = ("qconv2d", "--layer", "resnet18.C12", "--layout", "NHWC", "--data-zero", "128")
    conv = ((1, 512, 7, 7), (512, 3, 3), 1, 1, 1, 1, "NHWC")
    assert request_of(*words).template_args == (*conv, "uint8", "uint8", None, False, 128, 0, True)
    assert request_of("qmatmul", "--layer", "bert.qkv").shape == (128, 2304, 768)
    words = ("qdepthwise_conv2d", "--layer", "efficientnet.dw56_144k5s2", "--zero-point", "-3", "--out-dtype", "int8")
    conv = ((1, 144, 56, 56), (5, 5), 2, 2, 1, "NCHW")
    wanted = (*conv, "uint8", "int8", None, False, 0, -3, True, (-3, 127))
    assert request_of(*words, "--clip", "-3", "127").template_args == wanted
    added = (*wanted[:-1], None, (0.5, -7, 1.25, 3))
    assert request_of(*words, "--residual", "0.5", "-7", "1.25", "3").template_args == added


def test_a_layer_brings_its_own_flags() -> None:
    assert request_of("batch_matmul", "--layer", "bert.context").template_args == (12, 128, 64, 128, False)
    assert request_of("batch_matmul", "--layer", "bert.scores").template_args == (12, 128, 128, 64, True)
