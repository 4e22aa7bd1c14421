"""Train, test and show an assistant: ``python train.py`` runs the default, ``python train.py --help`` says the rest."""

from lasagna.cli.train import main

if __name__ == "__main__":
    main()
