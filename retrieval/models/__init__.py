from retrieval.models.archive import Dataset, MedicalImage, StoredFile
from retrieval.models.curation import ImageChange
from retrieval.models.deleting import DatasetDeletion
from retrieval.models.importing import ImportedFile, ImportJob
from retrieval.models.indexing import IndexBatch, IndexFailure, IndexJob
from retrieval.models.jobs import Job, JobStatus
from retrieval.models.quality import QualityCheck, QualityFinding
from retrieval.models.queries import Query, SearchResult
from retrieval.models.uploads import Upload, UploadedFile
from retrieval.models.versions import EMBEDDING_DIMENSION, Embedding, ModelVersion

__all__ = [
    "EMBEDDING_DIMENSION",
    "Dataset",
    "DatasetDeletion",
    "Embedding",
    "ImageChange",
    "ImportJob",
    "ImportedFile",
    "IndexBatch",
    "IndexFailure",
    "IndexJob",
    "Job",
    "JobStatus",
    "MedicalImage",
    "ModelVersion",
    "QualityCheck",
    "QualityFinding",
    "Query",
    "SearchResult",
    "StoredFile",
    "Upload",
    "UploadedFile",
]
