"""`/images` and `/videos`: models that only draw or film, and jobs that take their time."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from .error_bodies import error_plain
from .identifiers import random_word
from .pictures import picture_url
from .recording import RecordedRequest
from .replies import Reply

Row = dict[str, Any]

IMAGES_ONLY: Row = {
    "id": "lab/easel",
    "name": "The Lab: Easel",
    "description": "Draws, and is known to no other endpoint.",
    "created": 1_750_000_000,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
    "supported_parameters": {"aspect_ratio": {"type": "enum", "values": ["1:1", "16:9"]}},
    "supports_streaming": True,
    "endpoints": "/api/v1/images/models/lab/easel/endpoints",
}
PICTURE_COST, VIDEO_COST = 0.04, 0.5
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(range(256)) * 40
_ASPECTS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21")


@dataclass
class Studio:
    """The models, and the videos that are being made."""

    # How often a job has to be asked after before its video is there.
    polls_needed: int = 1
    # Whether there are any models that have an endpoint of their own.
    has_models: bool = True
    # No job goes on while this is set.
    is_busy: bool = False
    jobs: dict[str, int] = field(default_factory=dict)

    def reply_to(self, request: RecordedRequest, rows: list[Row]) -> Reply | None:
        """The answer, or None when the path is not one of ours."""
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["images" | "videos", "models"] if not self.has_models:
                return Reply(body={"data": []})
            case "GET", ["images", "models"]:
                drawing = [row for row in rows if "image" in _outputs(row)]
                return Reply(body={"data": [*map(_image_row, drawing), IMAGES_ONLY]})
            case "GET", ["videos", "models"]:
                filming = [row for row in rows if "video" in _outputs(row)]
                return Reply(body={"data": [_video_row(row) for row in filming]})
            case "POST", ["images"]:
                return _drawn(request.body)
            case "POST", ["videos"]:
                return self._ordered(request.body, rows)
            case "GET", ["videos", job_id]:
                return self._state(job_id)
            case "GET", ["videos", job_id, "content"] if job_id in self.jobs:
                return Reply(body=VIDEO, headers={"Content-Type": "video/mp4"})
            case _:
                return None

    def _ordered(self, body: Any, rows: list[Row]) -> Reply:
        filming = [row["id"] for row in rows if "video" in _outputs(row)]
        if body.get("model") not in filming:
            return _refused(404, f"Model {body.get('model')} does not exist")
        if not body.get("prompt") or body.get("aspect_ratio", "1:1") not in _ASPECTS:
            return _refused(400, "Invalid request parameters")
        job_id = f"job-{random_word(12)}"
        self.jobs[job_id] = 0
        return Reply(status=202, body=_job(job_id, "pending"))

    def _state(self, job_id: str) -> Reply:
        if job_id not in self.jobs:
            return _refused(404, "Resource not found")
        self.jobs[job_id] += 1
        if self.is_busy or self.jobs[job_id] < self.polls_needed:
            return Reply(body=_job(job_id, "in_progress"))
        done = {"unsigned_urls": [f"/api/v1/videos/{job_id}/content?index=0"]}
        usage = {"cost": VIDEO_COST, "is_byok": False}
        return Reply(body=_job(job_id, "completed") | done | {"usage": usage})


def image_events(*pictures: str, sketch: str = "") -> list[Any]:
    """The stream of `/images`, with the picture half drawn before it is whole."""
    sketches = [sketch] if sketch else []
    usage = {"prompt_tokens": 0, "completion_tokens": 4175, "total_tokens": 4175}
    return [
        *(
            {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": data}
            for data in map(_data_of, sketches)
        ),
        *(
            {
                "type": "image_generation.completed",
                "b64_json": data,
                "created": 0,
                "media_type": "image/png",
                "usage": {**usage, "cost": PICTURE_COST},
            }
            for data in map(_data_of, pictures)
        ),
    ]


def _data_of(url: str) -> str:
    data = url.partition("base64,")[2]
    base64.b64decode(data, validate=True)
    return data


def _drawn(body: Any) -> Reply:
    if not body.get("prompt"):
        return _refused(400, "Invalid request parameters")
    if body.get("model") != IMAGES_ONLY["id"]:
        return _refused(404, f"Model {body.get('model')} does not exist")
    url = picture_url(body["prompt"])
    if body.get("stream"):
        return Reply(events=image_events(url))
    usage = {"prompt_tokens": 0, "completion_tokens": 4175, "total_tokens": 4175}
    drawn = {"b64_json": _data_of(url), "media_type": "image/png"}
    return Reply(body={"created": 0, "data": [drawn], "usage": {**usage, "cost": PICTURE_COST}})


def _outputs(row: Row) -> list[str]:
    return row["architecture"]["output_modalities"]


def _image_row(row: Row) -> Row:
    kept = ("id", "name", "description", "created", "architecture")
    fields = {key: row[key] for key in kept} | {"supported_parameters": {}}
    address = f"/api/v1/images/models/{row['id']}/endpoints"
    return {**fields, "supports_streaming": False, "endpoints": address}


def _video_row(row: Row) -> Row:
    kept = ("id", "canonical_slug", "hugging_face_id", "name", "created", "description")
    return {
        **{key: row[key] for key in kept},
        "supported_resolutions": ["720p", "1080p"],
        "supported_aspect_ratios": ["16:9", "9:16"],
        "supported_sizes": None,
        "supported_durations": [4, 6, 8],
        "supported_frame_images": ["first_frame", "last_frame"],
        "generate_audio": True,
        "seed": True,
        "pricing_skus": {"duration_seconds_with_audio": "0.12"},
        "allowed_passthrough_parameters": [],
    }


def _job(job_id: str, status: str) -> Row:
    return {"id": job_id, "polling_url": f"/api/v1/videos/{job_id}", "status": status}


def _refused(status: int, message: str) -> Reply:
    return Reply(status=status, body=error_plain(status, message))
