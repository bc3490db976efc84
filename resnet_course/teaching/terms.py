"""The terms of the course, each defined once; tools/make_glossary.py makes docs/glossary.md from them."""

from __future__ import annotations

from resnet_course.teaching.terms_of_evaluation import TERMS_OF_EVALUATION
from resnet_course.teaching.terms_of_networks import TERMS_OF_NETWORKS, Term

TERMS = (
    Term("accuracy", "The part of the predictions that are right.", 0),
    Term(
        "AdamW",
        "An optimiser that gives every parameter a step size of its own, from its past gradients, and "
        "applies weight decay apart from them.",
        1,
    ),
    Term(
        "augmentation", "Changing training images at random, so that a network sees new ones every epoch.", 0
    ),
    Term(
        "backward pass",
        "Computing the gradient of the loss for every layer, from the last to the first.",
        1,
        "backward",
    ),
    Term("batch", "The images that a network processes together in one step.", 0),
    Term(
        "BatchNorm",
        "A layer that brings each channel to mean 0 and spread 1, then to a mean and a spread that it "
        "learns; while training it uses the batch's own statistics, afterwards running averages of them.",
        1,
    ),
    Term(
        "bf16",
        "A number format with 16 bits, the range of float32 and about three decimal digits; most processors "
        "with instructions for it multiply matrices faster.",
        0,
    ),
    Term("chance", "The accuracy of guessing without looking, which a network has to beat.", 0),
    Term(
        "channel",
        "One layer of values over height and width: red, green or blue, or what one filter found.",
        0,
    ),
    Term(
        "channels-last",
        "A memory layout in which the channels of one pixel lie side by side, as many processors prefer.",
        0,
    ),
    Term("checkpoint", "A file with a network's weights and all that is needed to use them again.", 0),
    Term("class", "One of the answers that a classifier can give.", 0, "classes"),
    Term(
        "confidence",
        "The probability that a network gives to its own answer.",
        0,
        "sure",
    ),
    Term(
        "confidence interval",
        "The range of true values that agree with a measurement; one of 95% misses the truth once in twenty.",
        0,
        "interval",
    ),
    Term(
        "convolution",
        "A layer that slides small filters over an image, and at every place adds up filter times image.",
        1,
    ),
    Term(
        "cross-entropy",
        "A classifier's usual loss: minus the logarithm of the probability that it gave to the true class.",
        1,
    ),
    Term(
        "CutMix",
        "An augmentation that pastes a rectangle of one image into another, and mixes their labels by area.",
        2,
    ),
    Term(
        "degradation",
        "That a deeper plain network has a higher training error than a shallower one.",
        1,
    ),
    Term(
        "discriminative learning rates",
        "Smaller learning rates for earlier layers, which need to change less.",
        3,
        "discriminative",
    ),
    Term("dropout", "Setting a random part of the features to zero while training, against overfitting.", 0),
    Term(
        "duplicate",
        "An image that is in the data twice, exactly or nearly; across splits it makes accuracy look better.",
        2,
    ),
    Term("epoch", "One pass over all training images.", 0),
    Term("feature", "A number that a layer computes from an image, and that later layers work with.", 1),
    Term("filter", "The small set of weights of a convolution that looks for one pattern.", 1),
    Term("fine-tuning", "Training a pretrained network further, on new images.", 0, "fine-tun"),
    Term("forward pass", "Computing a network's outputs from its inputs, layer by layer.", 1, "forward"),
    Term(
        "freezing",
        "Keeping parts of a network as they are while the rest learns, BatchNorm's statistics included.",
        0,
        "freez",
    ),
    Term("gradient", "The direction and size in which the loss grows fastest when the parameters change.", 1),
    Term("head", "The last part of a network, which turns features into classes.", 0),
    Term("identity", "A function that returns its input unchanged.", 1),
    Term("int8", "Whole numbers of 8 bits, of which there are 256.", 3),
    Term(
        "label smoothing",
        "Asking for slightly less than certainty in the true class, so that confidences stay moderate.",
        0,
    ),
    Term(
        "leak", "Information about the test images that reaches the training, and makes results too good.", 2
    ),
    Term(
        "learning rate",
        "How far the parameters move at each step, for a given gradient.",
        0,
    ),
    Term(
        "linear probe",
        "A linear layer trained on frozen features, to measure how much they tell about the classes.",
        3,
    ),
    Term("logits", "The outputs of the last layer, before softmax makes probabilities of them.", 1),
    Term("loss", "The number that training makes small: how wrong the predictions are.", 0),
    Term(
        "MixUp",
        "An augmentation that adds two images, each with a weight, and mixes their labels likewise.",
        2,
    ),
    Term("momentum", "Adding a part of the last step to the next one, which smooths the way down.", 3),
    Term(
        "multiply-add",
        "One multiplication and one addition, the unit in which the work of a network is counted.",
        1,
    ),
    Term(
        "normalisation",
        "Subtracting a mean from pixel values and dividing by a spread, as the network was trained with.",
        2,
        "normalis",
    ),
    Term(
        "one-cycle", "A schedule in which the learning rate rises first and then falls to almost nothing.", 4
    ),
    Term("optimiser", "The rule that turns gradients into changes of the parameters.", 1, "optimi"),
    Term(
        "overfitting",
        "Learning the training images by heart, so that the network is worse on others.",
        0,
        "overfit",
    ),
    Term("parameter", "A number in a network that training changes.", 0),
    Term(
        "pretrained",
        "Trained already on other images, mostly ImageNet's 1.2 million photographs.",
        0,
    ),
    Term(
        "projection",
        "A 1×1 convolution on the shortcut, which gives x the shape of F(x) where a block changes it.",
        1,
    ),
    Term("recall", "Of the images that belong to a class, the part that is called so.", 3),
    Term("ReLU", "A function that keeps positive values and makes negative ones 0.", 1),
    Term("residual", "What a block adds to its input: F(x) in F(x) + x.", 0),
    Term("schedule", "How the learning rate changes over a training.", 1),
    Term("seed", "The number from which all random draws follow, so that a run can be repeated.", 0),
    Term("SGD", "Stochastic gradient descent: a small step against the gradient of each batch.", 1),
    Term(
        "skip connection",
        "The way on which a block's input goes around it, to be added to its output.",
        1,
        "skip",
    ),
    Term("softmax", "The function that turns logits into probabilities that sum to 1.", 1),
    Term("stride", "How many pixels a filter moves at each step; 2 halves height and width.", 1),
    Term("tensor", "An array of numbers with any number of dimensions.", 1),
    Term("test split", "The images that are looked at once, at the end, for an honest accuracy.", 0),
    Term("transfer learning", "Using what a network has learned from other images for a new task.", 0),
    Term("TrivialAugment", "One random change of random strength for each image, with nothing to tune.", 2),
    Term(
        "trunk", "The part of a network before the head, or before all that learns, which makes features.", 1
    ),
    Term(
        "validation split",
        "Images that are not learned from, to choose the best epoch and settings with.",
        0,
        "validation",
    ),
    Term(
        "vanishing gradient",
        "A gradient that gets so small on its way back that early layers hardly learn.",
        1,
        "vanish",
    ),
    Term("weight decay", "Pulling all weights a little towards 0 at every step, against overfitting.", 3),
    Term("worker", "A process that prepares batches while another one computes.", 4),
)

TERMS = tuple(sorted((*TERMS, *TERMS_OF_NETWORKS, *TERMS_OF_EVALUATION), key=lambda term: term.name.lower()))
