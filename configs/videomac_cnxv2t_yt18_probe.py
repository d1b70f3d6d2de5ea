# With a look at DAVIS every 5 epochs: davis/J&F in the log and TensorBoard, and
# best_davis_J_F_epoch_<n>.pth in the work directory.
_base_ = ['videomac_cnxv2t_yt18.py', '_base_/probes/davis2017.py']

train_cfg = dict(val_interval=5)
default_hooks = dict(checkpoint=dict(save_best='davis/J&F'))
