//! A small table whose keys are never used again while an old event may still name them.
//!
//! Linear search: its users are bounded by a few hundred entries, and the code is a few bytes.

/// Values by a number given out at insertion.
#[derive(Debug)]
pub struct Table<T> {
    entries: Vec<(u32, T)>,
    next: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), next: 1 }
    }
}

impl<T> Table<T> {
    /// The number that the next insertion gives.
    pub fn next_id(&self) -> u32 {
        self.next
    }

    /// Adds a value.
    pub fn insert(&mut self, value: T) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        self.entries.push((id, value));
        id
    }

    /// The value of this number.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.entries.iter_mut().find(|(i, _)| *i == id).map(|(_, v)| v)
    }

    /// Takes the value of this number out.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let at = self.entries.iter().position(|(i, _)| *i == id)?;
        Some(self.entries.swap_remove(at).1)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries.iter().map(|(i, v)| (*i, v))
    }

    /// All values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.entries.iter_mut().map(|(i, v)| (*i, v))
    }

    /// Keeps the values for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(u32, &mut T) -> bool) {
        self.entries.retain_mut(|(id, value)| keep(*id, value));
    }

    /// Gives unused memory back.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }
}
