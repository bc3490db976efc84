"""What one does with a trained network: classify images, and write down what it says."""

from resnet_course.data.reading import ImageSource
from resnet_course.prediction.classifier import UNKNOWN, Classifier, Prediction
from resnet_course.prediction.writing import images_of, write_csv

__all__ = ["UNKNOWN", "Classifier", "ImageSource", "Prediction", "images_of", "write_csv"]
