"""Compares the image manifest with pydicom, over the files that come with pydicom, and looks for their patients everywhere.
Reads it with deltalake and polars, too, as the README shows.

Usage: check_dicom.py PROGRAM FOLDER. Makes data, a lake and a dataset in the folder, which must not exist. Ends with exit
code 1 and a line for each difference.
"""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import warnings
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pydicom
from check_release import documented
from deltalake import DeltaTable
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue

warnings.simplefilter("ignore")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

# Column of silver.images, and the elements of which the first that is there has its value.
TEXTS = {
    "study_uid": ["StudyInstanceUID"],
    "series_uid": ["SeriesInstanceUID"],
    "sop_uid": ["SOPInstanceUID"],
    "sop_class": ["SOPClassUID"],
    "modality": ["Modality"],
    "dicom_body_part": ["BodyPartExamined"],
    "laterality": ["ImageLaterality", "Laterality"],
    "view": ["ViewPosition"],
    "photometric_interpretation": ["PhotometricInterpretation"],
    "manufacturer": ["Manufacturer"],
}
NUMBERS = {"height": "Rows", "width": "Columns", "frames": "NumberOfFrames"}
# What identifies a patient: must not be found anywhere.
SECRETS = ["PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "OtherPatientNames", "PatientMotherBirthName"]
# Shorter values stand in other texts by chance.
SHORTEST = 5


def text(data: pydicom.Dataset, keywords: list[str]) -> str | None:
    for keyword in keywords:
        value = data.get(keyword)
        if value not in (None, "", []):
            parts = value if isinstance(value, MultiValue) else [value]
            joined = "\\".join(str(part).strip() for part in parts)
            if joined:
                return joined
    return None


def number(data: pydicom.Dataset, keyword: str) -> int | None:
    value = data.get(keyword)
    return None if value in (None, "") else int(value)


def spacing(data: pydicom.Dataset) -> tuple[float | None, float | None]:
    value = data.get("PixelSpacing")
    return (float(value[0]), float(value[1])) if isinstance(value, MultiValue) and len(value) == 2 else (None, None)


def day(data: pydicom.Dataset) -> date | None:
    value = text(data, ["AcquisitionDate"]) or text(data, ["AcquisitionDateTime"])
    value = (value or "").replace(".", "", 2)[:8]
    return date(int(value[:4]), int(value[4:6]), int(value[6:])) if value.isdigit() and len(value) == 8 else None


def expected(path: Path) -> dict | None:
    """A row of the manifest by pydicom; None where pydicom cannot read the file."""
    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, force=False)
        row = {column: text(data, keywords) for column, keywords in TEXTS.items()}
        row |= {column: number(data, keyword) for column, keyword in NUMBERS.items()}
        row["row_spacing_mm"], row["column_spacing_mm"] = spacing(data)
        row["acquisition_date"] = day(data)
        row["transfer_syntax"] = data.file_meta.get("TransferSyntaxUID")
        row["sop_uid"] = row["sop_uid"] or data.file_meta.get("MediaStorageSOPInstanceUID") or None
        row["sop_class"] = row["sop_class"] or data.file_meta.get("MediaStorageSOPClassUID") or None
        return row
    except Exception:
        return None


def secrets(path: Path) -> set[str]:
    """What a file says of its patient, at any depth."""
    found: set[str] = set()

    def look(_, element) -> None:
        if element.keyword in SECRETS and element.value:
            values = element.value if isinstance(element.value, MultiValue) else [element.value]
            for value in map(str, values):
                found.update(part.strip() for part in [value, *value.replace("=", "^").split("^")])

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        data.walk(look)
    except Exception:
        pass
    return {value for value in found if len(value) >= SHORTEST}


# A patient who is named wherever there is room.
PATIENT = {"PatientName": "Quixote^Zebulon", "PatientID": "MRN-77120034", "PatientBirthDate": "19420317"}
PATIENTS_SECRETS = {"Quixote", "QUIXOTE", "Zebulon", "77120034", "19420317", "1942-03-17"}
TALKATIVE = ["StudyDescription", "SeriesDescription", "ProtocolName", "ImageComments", "PatientComments", "SoftwareVersions",
             "SequenceName", "AcquisitionProtocolName", "ContrastBolusAgent", "ContentLabel", "ContentDescription",
             "DeviceSerialNumber", "StationName", "InstitutionName", "ReasonForStudy", "AdditionalPatientHistory"]


def named(path: Path, to: Path) -> None:
    """A copy of a file that names the patient in descriptions, private elements, sequences, a report and the meta group."""
    data = pydicom.dcmread(path)
    told = "MRN-77120034 QUIXOTE Zebulon, born 1942-03-17 (19420317)"
    for keyword, value in PATIENT.items():
        setattr(data, keyword, value)
    for keyword in TALKATIVE:
        setattr(data, keyword, told[:16] if dictionary_VR(keyword) in ("CS", "SH") else told)
    block = data.private_block(0x0019, "QUIXOTE 1.0", create=True)
    block.add_new(0x10, "LO", told)
    item, inner = pydicom.Dataset(), pydicom.Dataset()
    inner.ValueType, inner.TextValue, inner.PersonName = "TEXT", told, PATIENT["PatientName"]
    item.CodeMeaning, item.PatientID, item.ContentSequence = told, PATIENT["PatientID"], [inner]
    data.ContentSequence = [inner]
    data.ProcedureCodeSequence = [item]
    data.RequestAttributesSequence = [item]
    data.file_meta.PrivateInformationCreatorUID = "1.2.3"
    data.file_meta.PrivateInformation = told.encode()
    data.save_as(to)


def deliver(folder: Path) -> dict[str, Path]:
    """Files of pydicom by the name that they are delivered under, with an exam for each."""
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    files = {}
    # What is in the package; its own way to these files would fetch others from the network.
    packaged = sorted(path for path in Path(pydicom.__file__).parent.glob("data/*/**/*") if path.is_file())
    for number, path in enumerate(packaged):
        if path.suffix not in (".py", ".pyc", ".json", ".txt", ".md"):
            name = f"{number:03}-{path.name.replace('~', '').removesuffix('.crc')}"
            (images / name).write_bytes(path.read_bytes())
            files[name] = images / name
    for path in (path for path in packaged if path.name in ("CT_small.dcm", "MR_small.dcm", "test-SR.dcm", "rtplan.dcm")):
        name = f"named-{path.name}"
        named(path, images / name)
        files[name] = images / name
    exams = [
        {"content": {"id": f"exam-{number}", "image_path": f"gs://elsewhere/{name}",
                     "labels": [{"classification": "mass", "labelling_method": "physician", "value": True}]},
         "publication_timestamp": 1_600_000_000}
        for number, name in enumerate(files)
    ]
    (folder / "data" / "exam").mkdir()
    (folder / "data" / "medical_report").mkdir()
    (folder / "data" / "exam" / "exams.json").write_text(json.dumps(exams))
    return files


def run(program: str, folder: Path, *arguments: str) -> None:
    environment = os.environ | {"MEDALHA_PERSON_KEY": "a key for this check", "MEDALHA_SALT": "a salt for this check only"}
    command = [program, "--lake", folder / "lake", "--data", folder / "data", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def compare(rows: dict[str, dict], files: dict[str, Path]) -> tuple[int, list[str]]:
    """How many values are the same, and what differs."""
    same, problems = 0, []
    for name, path in files.items():
        wanted = expected(path)
        if wanted is None:
            continue
        for column, value in wanted.items():
            if rows[name][column] == value:
                same += 1
            else:
                problems.append(f"{name}: {column} is {rows[name][column]!r}, by pydicom {value!r}")
    return same, problems


def found_in(folder: Path, values: set[str]) -> list[str]:
    """Where a value stands in files: as they are, and in the rows of Parquet files."""
    problems = []
    # Digits in pixels and identifiers, and words in other words, are there by chance.
    whole = r"(?<![0-9A-Za-z])%s(?![0-9A-Za-z])"
    sought = {
        value: re.compile((re.escape(value) if value in PATIENTS_SECRETS else whole % re.escape(value)).encode())
        for value in values
    }
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False).encode()
        problems += [f"{path.relative_to(folder)} holds {value!r}" for value, form in sought.items() if form.search(content)]
    return problems


def manifest(folder: Path, rows: int) -> list[str]:
    """The manifest has its rows in deltalake and polars: now, at its version, and as the release that the README's code opens."""
    lake, functions = str(folder / "lake"), documented()
    place = f"{lake}/silver/images"
    version = DeltaTable(place).version()
    found = {
        "deltalake": DeltaTable(place).to_pyarrow_table().num_rows,
        "deltalake at its version": DeltaTable(place, version=version).to_pyarrow_table().num_rows,
        "deltalake before": DeltaTable(place, version=0).to_pyarrow_table().num_rows + rows,
        "deltalake in the release": functions["release_tables"](1, lake)["silver.images"].to_pyarrow_table().num_rows,
        "polars": pl.read_delta(place).height,
        "polars at its version": pl.read_delta(place, version=version).height,
        "polars in the release": functions["release"](1, lake)["silver.images"].collect().height,
    }
    return [f"the manifest has {count} rows in {how}, expected {rows}" for how, count in found.items() if count != rows]


def copies(folder: Path) -> tuple[int, list[str]]:
    """The copies of a dataset: each can be read and says that it names nobody."""
    count, problems = 0, []
    for shard in sorted(folder.glob("shards/*.tar")):
        with tarfile.open(shard) as members:
            for member in (member for member in members if member.name.endswith(".dcm")):
                data = pydicom.dcmread(io.BytesIO(members.extractfile(member).read()))
                count += 1
                if data.get("PatientIdentityRemoved") != "YES" or data.get("PatientName") not in (None, ""):
                    problems.append(f"{member.name}: is not de-identified")
                if any(element.tag.is_private for element in data.iterall()):
                    problems.append(f"{member.name}: has private elements")
    return count, problems


def main() -> None:
    program, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir()
    files = deliver(folder)
    run(program, folder, "run", "--pipeline", "imaging")
    run(program, folder, "dataset", "build", "exams", "--into", folder / "datasets", "--copy")
    table = DeltaTable(folder / "lake/silver/images").to_pyarrow_table().to_pylist()
    rows = {row["image_uri"].rsplit("/", 1)[1]: row for row in table}
    same, problems = compare(rows, files)
    values = PATIENTS_SECRETS.union(*map(secrets, files.values()))
    problems += found_in(folder / "lake", values) + found_in(folder / "datasets", values)
    copied, wrong = copies(folder / "datasets/exams")
    problems += wrong + manifest(folder, len(files))
    if same < 1000 or len(values) < 20 or copied < 50:
        problems.append(f"{same} values, {len(values)} secrets, {copied} copies: too little was checked")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print(f"{len(files)} files of pydicom: {same} values equal, {copied} copies; none of {len(values)} names and numbers is found")


if __name__ == "__main__":
    main()
