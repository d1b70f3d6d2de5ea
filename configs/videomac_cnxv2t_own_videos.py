# A folder of your own videos or frame folders, searched with its sub-folders:
# python tools/train.py configs/videomac_cnxv2t_own_videos.py \
#     --cfg-options train_dataloader.dataset.data_root=/path/to/videos
_base_ = 'videomac_cnxv2t_yt18.py'

train_dataloader = dict(dataset=dict(data_root='data/own_videos'))
