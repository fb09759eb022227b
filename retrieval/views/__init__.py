from retrieval.views.asking import ask, image_similar, query_again, query_detail, query_list, query_preview
from retrieval.views.browsing import (
    dataset_detail,
    dataset_list,
    image_detail,
    image_preview,
    image_thumbnail,
    series_detail,
)
from retrieval.views.deleting import dataset_delete, deletion_detail
from retrieval.views.history import query_delete
from retrieval.views.importing import import_cancel, import_detail, import_report, import_retry
from retrieval.views.quality import (
    dataset_quality,
    quality_check_cancel,
    quality_check_start,
    quality_decide,
    quality_undo,
)
from retrieval.views.reviewing import review, review_decide
from retrieval.views.uploading import upload_detail, upload_discard, upload_finish, uploaded_file, uploaded_files

__all__ = [
    "ask",
    "dataset_delete",
    "dataset_detail",
    "dataset_list",
    "dataset_quality",
    "deletion_detail",
    "image_detail",
    "image_preview",
    "image_similar",
    "image_thumbnail",
    "import_cancel",
    "import_detail",
    "import_report",
    "import_retry",
    "quality_check_cancel",
    "quality_check_start",
    "quality_decide",
    "quality_undo",
    "query_again",
    "query_delete",
    "query_detail",
    "query_list",
    "query_preview",
    "review",
    "review_decide",
    "series_detail",
    "upload_detail",
    "upload_discard",
    "upload_finish",
    "uploaded_file",
    "uploaded_files",
]
