"""The model: against a reference of its own, and what depends on what."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmvideomac.checkpoint.loading import load_state_dict_strictly
from projects.siammae.models import SiamMAE
from tests.test_models.utils import randomize, upsample_mask

from .tiny import ARCH, MODEL, batch, build

DECODERS = ('CrossSelfDecoder', 'CrossDecoder', 'JointDecoder')
VARIANTS = [(decoder, joint) for joint in (False, True) for decoder in DECODERS]


class Reference:
    """SiamMAE in plain torch: one sample at a time, tokens as lists, attention by hand."""

    def __init__(self, model: SiamMAE, decoder: str, joint_encoder: bool) -> None:
        self.w, self.decoder, self.joint_encoder = model.state_dict(), decoder, joint_encoder
        self.w['head.pos_embed'] = model.head.pos_embed

    def linear(self, x, name):
        return x @ self.w[f'{name}.weight'].T + self.w[f'{name}.bias']

    def norm(self, x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        return x * self.w[f'{name}.weight'] + self.w[f'{name}.bias']

    def attend(self, query, key, value, heads=2):
        out = []
        for q, k, v in zip(*(x.chunk(heads, -1) for x in (query, key, value)), strict=True):
            out.append(torch.softmax(q @ k.T / q.size(-1) ** 0.5, -1) @ v)
        return torch.cat(out, -1)

    def mlp(self, x, name):
        return self.linear(F.gelu(self.linear(x, f'{name}.layers.0.0')), f'{name}.layers.1')

    def layer(self, x, name):
        y = self.attend(*self.linear(self.norm(x, f'{name}.ln1'), f'{name}.attn.qkv').chunk(3, -1))
        x = x + self.linear(y, f'{name}.attn.proj')
        return x + self.mlp(self.norm(x, f'{name}.ln2'), f'{name}.ffn')

    def cross(self, x, past, name):
        weights = self.w[f'{name}.attn.in_proj_weight'].chunk(3)
        biases = self.w[f'{name}.attn.in_proj_bias'].chunk(3)
        past = self.norm(past, f'{name}.memory_norm')
        inputs = (self.norm(x, f'{name}.norm'), past, past)
        y = self.attend(*(i @ w.T + b for i, w, b in zip(inputs, weights, biases, strict=True)))
        return x + self.linear(y, f'{name}.attn.out_proj')

    def patches(self, frame):
        """(16, 768): rows of patches; channels first inside."""
        return [
            frame[:, 16 * i : 16 * i + 16, 16 * j : 16 * j + 16] for i in range(4) for j in range(4)
        ]

    def encode(self, *frames):
        kernel = self.w['backbone.patch_embed.projection.weight'].flatten(1)
        bias = self.w['backbone.patch_embed.projection.bias']
        positions = self.w['backbone.pos_embed'][0]
        tokens = [self.w['backbone.cls_token'][0, 0] + positions[0]]
        for frame, mask in frames:
            for number, (patch, hidden) in enumerate(
                zip(self.patches(frame), mask.flatten().tolist(), strict=True)
            ):
                if not hidden:
                    tokens.append(kernel @ patch.flatten() + bias + positions[1 + number])
        x = torch.stack(tokens)
        for index in range(ARCH['num_layers']):
            x = self.layer(x, f'backbone.layers.{index}')
        return self.norm(x, 'backbone.ln1')

    def full_set(self, tokens, mask):
        rows, tokens = [], list(self.linear(tokens, 'head.embed'))
        rows.append(tokens.pop(0))
        for hidden in mask.flatten().tolist():
            rows.append(self.w['head.mask_token'][0, 0] if hidden else tokens.pop(0))
        return torch.stack(rows) + self.w['head.pos_embed'][0]

    def predict(self, past, future, masks):
        if self.joint_encoder:
            tokens = self.encode((past, masks[0]), (future, masks[1]))
            middle = 1 + int((~masks[0]).sum())
            tokens = [tokens[:middle], torch.cat([tokens[:1], tokens[middle:]])]
        else:
            tokens = [self.encode((past, masks[0])), self.encode((future, masks[1]))]
        past, future = map(self.full_set, tokens, masks)
        if self.decoder == 'JointDecoder':
            x = torch.cat([past, future])
            for index in range(2):
                x = self.layer(x, f'head.blocks.{index}')
            outs = x.chunk(2)
        else:
            for index in range(2):
                name = f'head.blocks.{index}'
                future = self.cross(future, past, f'{name}.cross')
                if self.decoder == 'CrossSelfDecoder':
                    future = self.layer(future, f'{name}.layer')
                else:
                    future = future + self.mlp(self.norm(future, f'{name}.norm'), f'{name}.ffn')
            outs = [future]
        return [self.linear(self.norm(x, 'head.norm'), 'head.pred')[1:] for x in outs]

    def loss(self, pasts, futures, masks):
        errors = []
        for past, future, *mask in zip(pasts, futures, *masks, strict=True):
            predictions = self.predict(past, future, mask)
            frames, hidden = [past, future][-len(predictions) :], mask[-len(predictions) :]
            for prediction, frame, hide in zip(predictions, frames, hidden, strict=True):
                for value, patch, counts in zip(
                    prediction, self.patches(frame), hide.flatten().tolist(), strict=True
                ):
                    target = patch.permute(1, 2, 0).flatten()  # row, column, channel
                    target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
                    if counts:
                        errors.append((value - target).square().mean())
        return torch.stack(errors).mean()


@pytest.mark.parametrize('past_ratio', [0.0, 0.5])
@pytest.mark.parametrize('decoder, joint', VARIANTS)
def test_loss_is_that_of_the_reference(decoder, joint, past_ratio):
    masker = dict(type='PastFutureRandomMask', past_ratio=past_ratio, future_ratio=0.75)
    model = build(decoder, joint_encoder=joint, masker=masker).double()
    (past, future), samples = batch()
    masks = model.masker([0, 1, 2], (4, 4))
    losses = model([past.double(), future.double()], samples, mode='loss')
    assert list(losses) == ['loss_reconstruction']
    reference = Reference(model, decoder, joint)
    expected = reference.loss(past.double(), future.double(), masks)
    # The loss itself is in float32.
    torch.testing.assert_close(losses['loss_reconstruction'].double(), expected, rtol=1e-5, atol=0)


def test_the_default_leaves_the_past_whole_and_hides_95_percent():
    model = SiamMAE(**{key: MODEL[key] for key in ('backbone', 'head')})
    past, future = model.masker([0], (14, 14))
    assert not past.any() and (~future).sum() == 9


@pytest.mark.parametrize('decoder, joint', VARIANTS)
def test_every_parameter_has_a_gradient(decoder, joint):
    model = build(decoder, joint_encoder=joint)
    frames, samples = batch()
    model(frames, samples, mode='loss')['loss_reconstruction'].backward()
    for name, parameter in model.named_parameters():
        assert name == 'backbone.pos_embed' or parameter.grad.abs().sum() > 0, name


class Operators(TorchDispatchMode):
    """Names of the operators that run within."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **kwargs or {})


@pytest.mark.parametrize('decoder, attentions', [('CrossSelfDecoder', 8), ('CrossDecoder', 6)])
def test_attention_is_fused(decoder, attentions):
    model = build(decoder)
    frames, samples = batch()
    with Operators() as operators:
        model(frames, samples, mode='loss')
    fused = [name for name in operators.names if 'scaled_dot_product' in name]
    assert len(fused) == attentions  # 2 layers of 2 frames, and 2 blocks
    assert not any('softmax' in name for name in operators.names)


def gradients_of_a_hidden_patch(model):
    """Of the prediction of one hidden patch, with respect to the past and the future."""
    frames, _ = batch(size=1)
    frames = [frame.requires_grad_() for frame in frames]
    masks = model.masker([0], (4, 4))
    number = int(masks[1].flatten().nonzero()[3])
    prediction = model._predict(frames[0], frames[1:], masks)[-1]
    return torch.autograd.grad(prediction[0, number].sum(), frames), masks[1][0]


@pytest.mark.parametrize('decoder', DECODERS)
def test_a_prediction_depends_on_the_past_and_on_what_is_visible(decoder):
    (past, future), hidden = gradients_of_a_hidden_patch(build(decoder))
    assert (
        (past.abs().amax((0, 1)).unflatten(0, (4, 16)).unflatten(2, (4, 16)) > 0)
        .any(1)
        .any(2)
        .all()
    )
    assert not future[:, :, upsample_mask(hidden[None], 16)[0, 0]].any()
    if decoder == 'CrossDecoder':
        assert not future.any()  # patches of the future know nothing of each other
    else:
        assert future.any()


def test_several_futures_are_predicted_each_by_itself():
    model = build()
    frames, samples = batch(futures=2)
    masks = model.masker([0, 1, 2], (4, 4), num_futures=2)
    encoded = []
    model.backbone.layers[0].register_forward_hook(lambda m, i, out: encoded.append(out.shape[:2]))
    together = model(frames, samples, mode='predict')
    assert encoded == [(3, 17), (6, 5)]  # the past once
    for number in range(2):
        alone = model.predict([frames[0], frames[1 + number]], masks=(masks[0], masks[1 + number]))
        for ours, theirs in zip(together, alone, strict=True):
            assert ours.pred_patches.shape == (2, 16, 768) and ours.mask.shape == (3, 4, 4)
            torch.testing.assert_close(ours.pred_patches[number], theirs.pred_patches[0])
    loss = model.loss(frames, masks=masks)['loss_reconstruction']
    single = [
        model.loss([frames[0], frames[1 + i]], masks=(masks[0], masks[1 + i])) for i in range(2)
    ]
    torch.testing.assert_close(loss, sum(each['loss_reconstruction'] for each in single) / 2)


def test_several_futures_of_the_joint_model():
    model = build('JointDecoder', joint_encoder=True)
    frames, samples = batch(futures=2)
    assert model(frames, samples, mode='loss')['loss_reconstruction'].isfinite()
    assert model(frames, samples, mode='predict')[0].pred_patches.shape == (2, 16, 768)


def test_frames_of_another_size():
    model = build()
    frames, samples = batch(height=48, width=96)
    result = model(frames, samples, mode='predict')[0]
    assert result.mask.shape == (2, 3, 6) and result.pred_patches.isfinite().all()


def test_features_of_whole_images():
    model = build()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(model(images)[0], model.backbone(images)[0])


def test_bfloat16_and_compile():
    model = build()
    frames, samples = batch()
    expected = model(frames, samples, mode='loss')['loss_reconstruction']
    expected.backward()
    gradient = model.backbone.layers[0].attn.qkv.weight.grad.clone()
    with torch.autocast('cpu', torch.bfloat16):
        loss = model(frames, samples, mode='loss')['loss_reconstruction']
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.03, atol=0)
    loss.backward()
    model.zero_grad()
    compiled = torch.compile(model, backend='aot_eager')
    loss = compiled(frames, samples, mode='loss')['loss_reconstruction']
    loss.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(model.backbone.layers[0].attn.qkv.weight.grad, gradient)


@pytest.mark.parametrize('name, value', [('patch_size', 8), ('in_channels', 24)])
def test_a_head_of_another_encoder(name, value):
    with pytest.raises(ValueError, match=f'model.head.{name}={value}, but the encoder has 16'):
        build(head={**MODEL['head'], name: value})


def test_frames_that_are_no_whole_number_of_patches():
    frames, samples = batch(height=60)
    with pytest.raises(ValueError, match='60x64 are not a multiple of the 16-pixel patch'):
        build()(frames, samples, mode='loss')


def test_a_checkpoint_of_another_method():
    from mmvideomac.models import VideoMAC

    other = VideoMAC(
        backbone=dict(type='SparseConvNeXtV2', arch=dict(depths=[1] * 4, channels=[8, 12, 16, 24])),
        head=dict(type='MAEConvNeXtHead', in_channels=24, embed_dims=8),
    )
    with pytest.raises(ValueError) as error:
        load_state_dict_strictly(build(), randomize(other).state_dict(), 'videomac.pth')
    assert 'videomac.pth does not fit the model' in str(error.value)
    assert 'it holds: ConvNeXt V2' in str(error.value)
    assert 'the model: ViT, 2 layers, 16 channels' in str(error.value)
