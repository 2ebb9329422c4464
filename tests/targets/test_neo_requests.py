"""What neoc's page shows, boto3 takes: every request held against botocore's service model, and against the reader."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from neoc.compile.errors import MissingTool, NeocError, UsageError
from neoc.compile.registry import target_names
from neoc.targets import get_target
from neoc.targets.job import FIELDS, FRAMEWORKS, Job, read_job
from neoc.targets.job_target import X86_CPUS
from neoc.targets.neo import NEO_NAMES

PAGE = Path(__file__).parents[2] / "docs" / "neo-compatibility.md"
EXAMPLES: list[dict[str, Any]] = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.S)]


def job_of(folder: Path, request: Any) -> Job:
    path = folder / "job.json"
    path.write_text(json.dumps(request))
    return read_job(path)


def request_with(**changes: Any) -> dict[str, Any]:
    """The first example; `Part__Field` changes a field of a part, None takes it away."""
    request = copy.deepcopy(EXAMPLES[0])
    for name, value in changes.items():
        *outer, field = name.split("__")
        place = request
        for part in outer:
            place = place[part]
        if value is None:
            place.pop(field, None)
        else:
            place[field] = value
    return request


@pytest.fixture(scope="module")
def sagemaker() -> Any:
    """A client that reaches nothing: its own validation and serialisation, answers from a stub."""
    import botocore.session

    session = botocore.session.get_session()
    session.set_credentials("none", "none")
    return session.create_client("sagemaker", region_name="us-east-1")


# ---- boto3's own check -------------------------------------------------------------------------------


@pytest.mark.needs("botocore")
@pytest.mark.parametrize("request_", EXAMPLES, ids=lambda r: r["CompilationJobName"])
def test_boto3_takes_every_example(sagemaker: Any, request_: dict[str, Any]) -> None:
    from botocore.stub import Stubber

    answer = {"CompilationJobArn": "arn:aws:sagemaker:us-east-1:123456789012:compilation-job/x"}
    with Stubber(sagemaker) as stub:
        stub.add_response("create_compilation_job", answer, request_)
        assert sagemaker.create_compilation_job(**request_)["CompilationJobArn"] == answer["CompilationJobArn"]
        stub.assert_no_pending_responses()


@pytest.mark.needs("botocore")
def test_boto3_is_strict_about_them(sagemaker: Any) -> None:
    """So that the test above can fail: a field of neoc's own is refused there."""
    from botocore.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match="preprocess"):
        sagemaker.create_compilation_job(**EXAMPLES[0], preprocess=[])


@pytest.mark.needs("botocore")
def test_names_fields_and_frameworks_are_botocores(sagemaker: Any) -> None:
    model = sagemaker.meta.service_model
    shape = model.operation_model("CreateCompilationJob").input_shape
    assert set(model.shape_for("TargetDevice").enum) == set(NEO_NAMES)
    assert set(shape.members) == FIELDS
    assert set(model.shape_for("Framework").enum) == {*FRAMEWORKS, "MXNET", "DARKNET"}


@pytest.mark.needs("botocore")
def test_the_answer_speaks_describe_compilation_jobs_words(sagemaker: Any, tmp_path: Path) -> None:
    from botocore.stub import Stubber

    from neoc.cli.job import Ticket
    from neoc.compile.artifact import Artifact

    artifact = Artifact.open(Path(__file__).parents[1] / "data" / "artifacts" / "dense-1.1.neoc")
    ticket = Ticket(job_of(tmp_path, EXAMPLES[0]), EXAMPLES[0])
    for result, status in ((artifact, "COMPLETED"), (UsageError("no"), "FAILED")):
        facts = ticket.description(result)
        assert facts["CompilationJobStatus"] == status
        members = sagemaker.meta.service_model.operation_model("DescribeCompilationJob").output_shape.members
        assert set(facts) <= set(members)
        whole = {
            "CompilationJobArn": "arn:aws:sagemaker:us-east-1:123456789012:compilation-job/x",
            "CreationTime": facts["CompilationStartTime"],
            "LastModifiedTime": facts["CompilationEndTime"],
            "FailureReason": "",
            "ModelArtifacts": {"S3ModelArtifacts": ""},
            **facts,
        }
        with Stubber(sagemaker) as stub:
            stub.add_response("describe_compilation_job", whole, {"CompilationJobName": "j"})
            sagemaker.describe_compilation_job(CompilationJobName="j")


# ---- the reader --------------------------------------------------------------------------------------


def test_the_examples_become_arguments(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, request) for request in EXAMPLES]
    assert [job.target for job in jobs] == ["ml_c5", "rasp4b", "x86-64-v4", jobs[3].target, "ml_inf2"]
    assert get_target(jobs[3].target).arch == "armv7"
    assert [job.inputs for job in jobs] == [
        ("data=1,3,224,224",),
        ("#0=1,3,224,224:float32",),
        ("input_1=1,224,224,3",),
        (),
        ("input_ids=1,128", "mask=1,128"),
    ]
    assert [job.framework for job in jobs] == ["", "PyTorch", "Keras", "XGBoost", "TensorFlow"]
    assert jobs[4].pairs == (("neuron.optlevel", "2"),)
    assert jobs[0].notes == ()
    assert [note.partition(":")[0] for note in jobs[2].notes] == ["Tags"]
    assert [job.max_runtime_s for job in jobs] == [900, 1800, 900, 600, 7200]


@pytest.mark.parametrize(
    ("framework", "config", "inputs"),
    [
        ("ONNX", '{"a": [1, 2], "b": [3]}', ("a=1,2", "b=3")),
        ("ONNX", "{'a': {'shape': [1, 2]}}", ("a=1,2",)),
        ("TENSORFLOW", '{"image": [1, 224, 224, 3]}', ("image=1,224,224,3",)),
        ("TFLITE", '{"image": [1, 224, 224, 3]}', ("image=1,224,224,3",)),
        ("KERAS", '{"a": [1, 3, 224, 200], "b": [1, 7]}', ("a=1,224,200,3", "b=1,7")),
        ("PYTORCH", '{"input0": [1, 3, 8, 8], "input1": [1, 2]}', ("#0:input0=1,3,8,8", "#1:input1=1,2")),
        ("PYTORCH", "[[1, 3, 8, 8], [1, 2]]", ("#0=1,3,8,8", "#1=1,2")),
        ("PYTORCH", "[1, 3, 8, 8]", ("#0=1,3,8,8",)),
        ("XGBOOST", None, ()),
        ("SKLEARN", "", ()),
    ],
)
def test_the_dialects(tmp_path: Path, framework: str, config: str | None, inputs: tuple[str, ...]) -> None:
    request = request_with(InputConfig__Framework=framework, InputConfig__DataInputConfig=config)
    assert job_of(tmp_path, request).inputs == inputs


@pytest.mark.parametrize(
    ("framework", "config", "why"),
    [
        ("ONNX", "[[1, 2]]", "PyTorch's dialect"),
        ("ONNX", "{", "neither JSON nor a dict literal"),
        ("ONNX", "{}", "names no input"),
        ("ONNX", '{"a": ["1..10", 3]}', "Core ML's dialect"),
        ("ONNX", '{"a": {"shape": [1], "type": "Image"}}', "Core ML's dialect"),
        ("ONNX", '{"a": [0, 3]}', "no list of sizes"),
        ("ONNX", '{"a": [true]}', "no list of sizes"),
        ("ONNX", '{"a": 3}', "no list of sizes"),
        ("ONNX", '{"": [3]}', "no name"),
        ("PYTORCH", "[[1], 2]", "no list of sizes"),
        ("PYTORCH", "[]", "names no input"),
        ("PYTORCH", "__import__('os')", "neither JSON nor a dict literal"),
    ],
)
def test_other_dialects_are_refused(tmp_path: Path, framework: str, config: str, why: str) -> None:
    request = request_with(InputConfig__Framework=framework, InputConfig__DataInputConfig=config)
    with pytest.raises(UsageError, match=why):
        job_of(tmp_path, request)


def platform(arch: str, options: object = None, **more: str) -> dict[str, Any]:
    text = None if options is None else json.dumps(options)
    changes = {"OutputConfig__TargetPlatform": {"Os": "LINUX", "Arch": arch, **more}}
    return request_with(OutputConfig__TargetDevice=None, OutputConfig__CompilerOptions=text, **changes)


@pytest.mark.parametrize(
    ("arch", "options", "target"),
    [
        ("X86_64", None, "x86-64"),
        ("X86_64", {"mcpu": "core-avx2"}, "x86-64-v3"),
        ("X86_64", {"mattr": ["+avx2", "+fma"]}, "x86-64-v3"),
        ("X86_64", {"mcpu": "nehalem", "mattr": "+avx512f"}, "x86-64-v4"),
        ("ARM64", None, "aarch64"),
        ("ARM64", {"mattr": ["+neon"]}, "aarch64"),
        ("ARM64", {"mcpu": "cortex-a72"}, "rasp4b"),
        ("ARM64", {"mcpu": "neoverse-v1", "mattr": ["+sve"]}, "graviton3"),
        ("ARM_EABIHF", {"mattr": ["+neon", "+vfpv4"]}, "rasp3b"),
        ("ARM_EABIHF", {"mcpu": "cortex-a17"}, "rk3288"),
    ],
)
def test_a_platform_gets_the_least_that_has_what_is_asked(
    tmp_path: Path, arch: str, options: object, target: str
) -> None:
    if target not in target_names():
        pytest.skip(f"no target {target} is registered")
    assert job_of(tmp_path, platform(arch, options)).target == target


def test_every_name_of_a_processor_leads_to_its_level(tmp_path: Path) -> None:
    for level, names in X86_CPUS.items():
        assert {job_of(tmp_path, platform("X86_64", {"mcpu": name})).target for name in names.split()} == {level}


def test_an_nvidia_platform_gets_the_chip_with_that_code(tmp_path: Path) -> None:
    """Whichever GPU targets are registered: each is found by its own code, and a code that nobody has is refused."""
    from neoc.targets import all_targets

    archs = {"x86_64": "X86_64", "aarch64": "ARM64"}
    for gpu in [t for t in all_targets() if t.arch == "nvidia" and t.fact("host_arch") in archs]:
        arch = archs[str(gpu.fact("host_arch"))]
        found = get_target(job_of(tmp_path, platform(arch, {"gpu-code": gpu.level}, Accelerator="NVIDIA")).target)
        assert (found.arch, found.level, found.fact("host_arch")) == ("nvidia", gpu.level, gpu.fact("host_arch"))
    with pytest.raises(UsageError, match="gpu-code sm_20 is none that neoc builds for"):
        job_of(tmp_path, platform("ARM64", {"gpu-code": "sm_20", "trt-ver": "6.0.1"}, Accelerator="NVIDIA"))
    with pytest.raises(UsageError, match="needs gpu-code"):
        job_of(tmp_path, platform("ARM64", Accelerator="NVIDIA"))


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"InputConfig__S3Uri": "s3://bucket/model.tar.gz"}, MissingTool, "needs a download"),
        ({"InputConfig__S3Uri": "file://elsewhere/m"}, MissingTool, "another host"),
        ({"InputConfig__S3Uri": "file://"}, MissingTool, "does not reach"),
        ({"InputConfig__S3Uri": "file://[x/m"}, UsageError, "no place"),
        ({"OutputConfig__S3OutputLocation": "s3://b/o"}, MissingTool, "needs a download"),
        ({"InputConfig__Framework": "MXNET"}, UsageError, "Framework MXNET is not served.*ONNX"),
        ({"InputConfig__Framework": "DARKNET"}, UsageError, "Framework DARKNET is not served"),
        ({"InputConfig__Framework": "CAFFE"}, UsageError, "none of SageMaker's"),
        ({"InputConfig__Model": "x"}, UsageError, r"not known: InputConfig\.Model"),
        ({"OutputConfig__KmsKeyId": "k"}, UsageError, "KmsKeyId is not served"),
        ({"OutputConfig__Device": "x"}, UsageError, r"not known: OutputConfig\.Device"),
        ({"ModelPackageVersionArn": "arn"}, UsageError, "ModelPackageVersionArn is not served"),
        ({"CompilationJobName": "../x"}, UsageError, "is no name"),
        ({"CompilationJobName": 7}, UsageError, "is no name"),
        ({"CompilationJobName": "a" + "-" * 62 + "b"}, UsageError, "is no name"),
        ({"InputConfig__Framework": ["ONNX"]}, UsageError, "is no name"),
        ({"Nonsense": 1}, UsageError, "not known: Nonsense"),
        ({"StoppingCondition__MaxRuntimeInSeconds": 0}, UsageError, "above zero"),
        ({"StoppingCondition__MaxRuntimeInSeconds": True}, UsageError, "above zero"),
        ({"StoppingCondition__MaxRuntimeInSeconds": 10**400}, UsageError, "the most is"),
        ({"StoppingCondition": 900}, UsageError, "no JSON object"),
        ({"StoppingCondition__MaxRuntimeInSecond": 9}, UsageError, r"not known: StoppingCondition\.MaxRuntimeInSecond"),
        ({"OutputConfig__TargetDevice": None}, UsageError, "names no TargetDevice"),
        ({"OutputConfig__TargetPlatform": {"Os": "LINUX", "Arch": "ARM64"}}, UsageError, "a TargetDevice and"),
        ({"OutputConfig__CompilerOptions": "{"}, UsageError, "neither JSON"),
        ({"OutputConfig__CompilerOptions": "[1]"}, UsageError, "it is list"),
        ({"OutputConfig__CompilerOptions": '{"gpu-code": "sm_75"}'}, UsageError, "x86-64-v4 has no 'gpu-code'"),
        ({"OutputConfig__CompilerOptions": '{"dtype": "complex"}'}, UsageError, "none of Neo's"),
        ({"OutputConfig__CompilerOptions": '{"class_labels": "x"}'}, UsageError, "Core ML"),
        ({"OutputConfig__CompilerOptions": '{"ANDROID_PLATFORM": 28}'}, UsageError, "Android"),
        ({"OutputConfig__CompilerOptions": '{"mcpu": "cortex-a72"}'}, UsageError, "mcpu cortex-a72 is not"),
        ({"OutputConfig__CompilerOptions": '{"mattr": ["+avx512_bf16"]}'}, UsageError, "beyond x86-64-v4"),
        ({"OutputConfig__CompilerOptions": '{"mattr": ["-avx"]}'}, UsageError, "takes a feature away"),
        ({"OutputConfig__CompilerOptions": '"--verbose 1"'}, UsageError, "Neuron's dialect"),
    ],
)
def test_what_is_not_served_is_said_with_its_reason(
    tmp_path: Path, changes: dict[str, Any], error: type[NeocError], why: str
) -> None:
    with pytest.raises(error, match=why):
        job_of(tmp_path, request_with(**changes))


@pytest.mark.parametrize(
    ("arch", "more", "why"),
    [
        ("X86", {}, "32-bit x86"),
        ("ARM_EABI", {}, "floating-point unit"),
        ("ARM64", {"Accelerator": "MALI"}, "Mali"),
        ("X86_64", {"Accelerator": "INTEL_GRAPHICS"}, "Intel's graphics"),
        ("ARM64", {"Accelerator": "NNA"}, "neural network accelerators"),
        ("ARM64", {"Os": "ANDROID"}, "for Linux"),
        ("SPARC", {}, "Arch is one of"),
        (["ARM64"], {}, "Arch is one of"),
    ],
)
def test_platforms_that_are_not_served(tmp_path: Path, arch: Any, more: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=f"is not served.*{why}"):
        job_of(tmp_path, platform(arch, **more))


@pytest.mark.parametrize(
    ("text", "pairs", "notes"),
    [
        ('"--verbose 1 -O3"', (("neuron.optlevel", "3"),), 1),
        ("--model-type=transformer --auto-cast-type bf16",
         (("neuron.model-type", "transformer"), ("neuron.auto-cast-type", "bf16")), 0),
    ],
)  # fmt: skip
def test_neurons_words(tmp_path: Path, text: str, pairs: tuple[tuple[str, str], ...], notes: int) -> None:
    request = request_with(OutputConfig__TargetDevice="ml_inf2", OutputConfig__CompilerOptions=text)
    job = job_of(tmp_path, request)
    assert (job.pairs, len(job.notes)) == (pairs, notes)
    with pytest.raises(UsageError, match="num-neuroncores is no flag"):
        job_of(
            tmp_path,
            request_with(OutputConfig__TargetDevice="ml_inf2", OutputConfig__CompilerOptions='"--num-neuroncores 2"'),
        )


@pytest.mark.parametrize("device", sorted(NEO_NAMES))
def test_every_device_name_resolves_or_is_explained(tmp_path: Path, device: str) -> None:
    job = job_of(tmp_path, request_with(OutputConfig__TargetDevice=device))
    assert job.target == device
    row = NEO_NAMES[device]
    if row.status == "served":
        assert get_target(device).name == row.target
    else:
        with pytest.raises(UsageError, match=device):
            get_target(device)
