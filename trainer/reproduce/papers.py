"""What the two papers print, in one place: figures stand beside ours wherever ours are shown."""

from __future__ import annotations

# Table 4, percent: ResNet, ResNet under FGSM, encode-decode ResNet under FGSM
IOT: dict[str, tuple[float, float, float]] = {
    "FiftyWords": (73.2, 17.1, 49.22),
    "Adiac": (83.1, 3.1, 10.16),
    "ArrowHead": (85.1, 33.1, 75.0),
    "Beef": (76.7, 20.0, 30.0),
    "BeetleFly": (85.0, 15.0, 60.0),
    "BirdChicken": (95.0, 55.0, 65.0),
    "Car": (93.3, 21.7, 35.0),
    "CBF": (98.9, 86.1, 98.0),
    "Coffee": (100.0, 50.0, 75.0),
    "SmallKitchenAppliances": (78.9, 40.5, 65.4),
}
# Table 1: epsilon -> accuracy of ResNet on ResNet's and on FCN's examples, of FCN on FCN's and on ResNet's.
# The scan prints the last three columns run together. Read row by row they are ResNet on FCN .6429 .9285 .8571 .5357,
# FCN on FCN .4643 .3929 .25 .1429, FCN on ResNet .7142 .6071 .5357 .4286: the last two fall with epsilon as they must,
# and the first would but for its first figure, which is that of the column before it: a slip of the paper, it seems.
IOT_TABLE1: dict[float, tuple[float, float, float, float]] = {
    0.08: (0.6429, 0.6429, 0.4643, 0.7142),
    0.1: (0.4286, 0.9285, 0.3929, 0.6071),
    0.12: (0.3929, 0.8571, 0.25, 0.5357),
    0.15: (0.25, 0.5357, 0.1429, 0.4286),
}

# Paper 2: net -> table -> accuracy and mean F1 printed in Tables 2 to 6
ECG: dict[str, dict[int, tuple[float, float]]] = {
    "none": {2: (0.4256, 0.2839), 3: (0.4256, 0.2839), 4: (0.3906, 0.2558), 5: (0.3906, 0.2558)},
    "jr": {
        2: (0.7676, 0.6772),
        3: (0.4223, 0.2958),
        4: (0.7515, 0.6595),
        5: (0.3805, 0.2582),
        6: (0.8976, 0.8872),
    },
    "nsr": {
        2: (0.8359, 0.7200),
        3: (0.7339, 0.5323),
        4: (0.8316, 0.7112),
        5: (0.7102, 0.5067),
        6: (0.8824, 0.8614),
    },
    "dd": {
        2: (0.7684, 0.6475),
        3: (0.5079, 0.3397),
        4: (0.7562, 0.6330),
        5: (0.4577, 0.3028),
        6: (0.8877, 0.8702),
    },
    "at": {
        2: (0.8551, 0.7498),
        3: (0.8040, 0.6477),
        4: (0.8535, 0.7469),
        5: (0.7855, 0.6191),
        6: (0.9014, 0.8694),
    },
    "init_adt": {
        2: (0.8530, 0.7572),
        3: (0.7656, 0.6035),
        4: (0.8485, 0.7527),
        5: (0.7458, 0.5776),
        6: (0.9163, 0.9023),
    },
    "dist_adt": {
        2: (0.8579, 0.7628),
        3: (0.8148, 0.6817),
        4: (0.8551, 0.7572),
        5: (0.7981, 0.6548),
        6: (0.9005, 0.8840),
    },
    "adt": {
        2: (0.8631, 0.7737),
        3: (0.8270, 0.6845),
        4: (0.8612, 0.7709),
        5: (0.8115, 0.6595),
        6: (0.9144, 0.8961),
    },
}
# Paper 2, Table 3: the share of its clean accuracy, which is not printed, that SAP takes in situation II
ECG_SAP_DROP = {"none": 0.5069, "jr": 0.5108, "nsr": 0.1543, "dd": 0.4184, "at": 0.0701, "adt": 0.0435}
