from django.urls import path

from training import views

urlpatterns = [
    path("", views.training_home, name="training_home"),
    path("start/", views.run_start, name="run_start"),
    path("runs/<int:pk>/", views.run_detail, name="run_detail"),
    path("runs/<int:pk>/cancel/", views.run_cancel, name="run_cancel"),
    path("evaluations/<int:pk>/", views.evaluation_detail, name="evaluation_detail"),
    path("evaluations/<int:pk>/cancel/", views.evaluation_cancel, name="evaluation_cancel"),
    path("compare/", views.version_compare, name="version_compare"),
    path("versions/roll-back/", views.version_roll_back, name="version_roll_back"),
    path("versions/<int:number>/activate/", views.version_activate, name="version_activate"),
    path("versions/<int:number>/retire/", views.version_retire, name="version_retire"),
]
