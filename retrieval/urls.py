from django.urls import path

from retrieval import views

urlpatterns = [
    path("", views.ask, name="ask"),
    path("queries/", views.query_list, name="query_list"),
    path("queries/<uuid:uuid>/", views.query_detail, name="query_detail"),
    path("queries/<uuid:uuid>/preview.png", views.query_preview, name="query_preview"),
    path("queries/<uuid:uuid>/again/", views.query_again, name="query_again"),
    path("images/<uuid:uuid>/", views.image_detail, name="image_detail"),
    path("images/<uuid:uuid>/preview.png", views.image_preview, name="image_preview"),
    path("images/<uuid:uuid>/thumbnail.jpg", views.image_thumbnail, name="image_thumbnail"),
    path("images/<uuid:uuid>/similar/", views.image_similar, name="image_similar"),
    path("series/<uuid:uuid>/", views.series_detail, name="series_detail"),
    path("datasets/", views.dataset_list, name="dataset_list"),
    path("datasets/<int:pk>/", views.dataset_detail, name="dataset_detail"),
    path("datasets/<int:pk>/delete/", views.dataset_delete, name="dataset_delete"),
    path("deletions/<int:pk>/", views.deletion_detail, name="deletion_detail"),
    path("uploads/<uuid:uuid>/", views.upload_detail, name="upload_detail"),
    path("uploads/<uuid:uuid>/files/", views.uploaded_files, name="uploaded_files"),
    path("uploads/<uuid:uuid>/files/<uuid:file>/", views.uploaded_file, name="uploaded_file"),
    path("uploads/<uuid:uuid>/finish/", views.upload_finish, name="upload_finish"),
    path("uploads/<uuid:uuid>/discard/", views.upload_discard, name="upload_discard"),
    path("imports/<int:pk>/", views.import_detail, name="import_detail"),
    path("imports/<int:pk>/cancel/", views.import_cancel, name="import_cancel"),
    path("imports/<int:pk>/retry/", views.import_retry, name="import_retry"),
    path("imports/<int:pk>/report.csv", views.import_report, name="import_report"),
]
