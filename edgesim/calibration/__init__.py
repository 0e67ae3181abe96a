"""Calibration: a device profile of the machine that it runs on, from measurements.

nets      networks that are trained to learn the machine's rates
timing    how long a step of a network takes here
sparse    how much faster a sparse layer trains than a dense one here
rates     the rates that explain the times best
power     what the machine draws
board     all of it as a profile file
"""
