from django.urls import path

from training import views

urlpatterns = [path("", views.training_home, name="training_home")]
