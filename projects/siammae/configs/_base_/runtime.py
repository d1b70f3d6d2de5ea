_base_ = '../../../../configs/_base_/default_runtime.py'

custom_imports = dict(imports=['mmvideomac', 'projects.siammae'])

default_hooks = dict(reconstruction=dict(type='PredictionHook', interval=1000))
