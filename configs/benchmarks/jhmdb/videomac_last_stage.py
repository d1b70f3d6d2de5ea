# Stage 4, which the feature widths that the paper states suggest (768 of ConvNeXt V2-S).
_base_ = 'videomac.py'

model = dict(stage=4)
