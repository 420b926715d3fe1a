//! A rule of Docker's profile, and whether it applies to a container. Also compiled into the build script, therefore
//! it uses nothing of the crate. It does not know the profile itself: that is `docker.profile`.

use super::filter::Condition;

/// One rule.
pub(crate) struct Rule {
    /// The kernel's return value for the calls.
    pub(crate) action: u32,
    /// Names of the calls.
    pub(crate) names: &'static [&'static str],
    /// Conditions on the arguments, all of which must hold.
    pub(crate) conditions: &'static [Condition],
    /// Oldest kernel, as major and minor number.
    pub(crate) kernel: (u32, u32),
    /// Machines, by Go's names; none means all.
    pub(crate) arches: &'static [&'static str],
    /// Capabilities that the container must have.
    pub(crate) with: &'static [&'static str],
    /// Capabilities that it must not have.
    pub(crate) without: &'static [&'static str],
}

impl Rule {
    /// Whether the rule is one for this container, machine and kernel.
    pub(crate) fn applies(
        &self,
        has_capability: &dyn Fn(&str) -> bool,
        arch: &str,
        kernel: (u32, u32),
    ) -> bool {
        kernel >= self.kernel
            && (self.arches.is_empty() || self.arches.contains(&arch))
            && self.with.iter().all(|c| has_capability(c))
            && !self.without.iter().any(|c| has_capability(c))
    }
}
