//! Which nodes a walk has met. Starting anew costs nothing, but for once in 65,535 times.

/// A mark for each node.
#[derive(Debug, Default)]
pub struct Visited {
    marks: Vec<u16>,
    now: u16,
}

impl Visited {
    /// Forgets all, and has room for so many nodes.
    pub fn start(&mut self, nodes: usize) {
        if self.marks.len() < nodes {
            self.marks.resize(nodes, 0);
        }
        self.now = self.now.wrapping_add(1);
        if self.now == 0 {
            self.marks.fill(0);
            self.now = 1;
        }
    }

    /// Meets a node; whether for the first time.
    pub fn visit(&mut self, node: u32) -> bool {
        match self.marks.get_mut(node as usize) {
            Some(mark) if *mark != self.now => {
                *mark = self.now;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_forgets() {
        let mut visited = Visited::default();
        for _ in 0..70_000 {
            visited.start(3);
            assert!(visited.visit(2) && !visited.visit(2) && visited.visit(0));
            assert!(!visited.visit(3), "a node that is not there");
        }
    }
}
