# A folder of your own videos or frame folders, searched with its sub-folders:
# python tools/train.py configs/videomac_cnxv2t_own_videos.py \
#     --cfg-options train_dataloader.dataset.data_root=/path/to/videos
_base_ = 'videomac_cnxv2t_yt18.py'

train_dataloader = dict(dataset=dict(data_root='data/own_videos'))

# Batch, accumulation, learning rate, pairs per video and epochs are fitted to the videos and the
# memory that are found, and a few videos are held back for a probe: the log says how and why. What
# is set here (batch_size, total_batch_size, lr, repeats, epochs, held_back) is kept.
# None: as the config says, without a probe.
fit_to_data = dict(
    mib_per_pair=32,  # of a batch, ConvNeXt V2-T at 224 pixels; on a CPU in float32 it is 25
    mib=2048,  # weights and moments are 488 of it, the rest is for libraries
)
