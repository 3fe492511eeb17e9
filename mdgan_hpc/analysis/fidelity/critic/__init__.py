"""A critic as a judge: can a classifier tell generated motion from MD that it never saw?"""

from mdgan_hpc.analysis.fidelity.critic.result import CriticResult, Examples
from mdgan_hpc.analysis.fidelity.critic.trial import judge_by_critic, train_share
from mdgan_hpc.analysis.fidelity.critic.windows import Motion

__all__ = ["CriticResult", "Examples", "Motion", "judge_by_critic", "train_share"]
