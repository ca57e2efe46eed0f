// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Forger} from "./support/Forger.sol";
import {Harness} from "./support/Harness.sol";

/// @title Registers, exits and rotations of owners and strangers, with real proofs
/// @dev The chain of fixtures/requests.json. Slot 1 is ALICE's, slot 3 BOB's, opened by a register; slot 40,000 is ALICE's, of token 2.
contract RequestedTest is Forger {
    uint256 private constant LAST = 5;
    uint16 private constant NONE = 0;

    function setUp() public override {
        harness = newHarness();
        deployWithQueue("requests", 12);
    }

    function settles(uint256 number) private {
        uint256 exits;
        for (uint256 i; i < choicesOf(number).length; ++i) {
            if (choicesOf(number)[i] & 0xff == 2) ++exits;
        }
        settleFixture(number, 0, commitOf(number).withdrawals.length + exits);
    }

    function test_the_whole_chain() public {
        commitFixtures(1, LAST);
        proveFixtures(1, LAST);
        vm.assertEq(rollup.stateRoot(), newRoot(LAST));
        vm.assertEq(rollup.queueProven(), 12);
        vm.assertEq(rollup.queueLength(), 12);
        for (uint256 number = 2; number <= LAST; ++number) {
            settles(number);
        }
        // BOB left slot 3 with what it held after his last transfer, and got nothing of slot 1; ALICE left slot 40,000 and withdrew
        vm.assertEq(rollup.claimable(NATIVE, BOB), 3 ether - 0.5 ether - 0.001 ether);
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 7 ether);
        vm.assertEq(rollup.claimable(NATIVE, ALICE), 0);
        vm.assertEq(rollup.claimable(NATIVE, address(bytes20(hex"a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4"))), 0.25 ether);
        rollup.settleRefunds(proofOf(4).record, choicesOf(4), wordsOf(4), 10, 7, entriesOf(7, 10));
        vm.assertEq(rollup.claimable(NATIVE, ALICE), 1 ether);
        uint256 held = rollup.escrow(TOKEN);
        vm.prank(ALICE);
        rollup.claim(TOKEN, ALICE);
        vm.assertEq(token.balanceOf(ALICE), 7 ether);
        vm.assertEq(rollup.escrow(TOKEN), held - 7 ether);
    }

    function test_each_commit_is_what_the_operator_hashed() public {
        for (uint256 number = 1; number <= LAST; ++number) {
            commit(commitOf(number));
            vm.assertEq(rollup.batchHash(number), vm.parseJsonBytes32(json(), path(number, "batchHash")));
            proveFixtures(number, number);
            vm.assertEq(rollup.stateRoot(), newRoot(number));
        }
    }

    /// @dev What left cannot leave again by an opening: the frozen state holds nothing of it.
    function test_after_a_freeze_nobody_leaves_twice() public {
        commitFixtures(1, LAST);
        proveFixtures(1, LAST);
        freezeForGood();
        uint256 sum;
        for (uint256 place; place < 4; ++place) {
            Exit memory leaves = exitOf(LAST, place);
            rollup.exit(leaves.idx, leaves.dyn, leaves.owner, proofOf(LAST).record.header.commitments, leaves.opening);
            if (leaves.idx == 3 || leaves.idx == 40_000) vm.assertEq(uint128(leaves.dyn), 0);
            if (leaves.dyn >> 168 == NATIVE) sum += uint128(leaves.dyn);
        }
        for (uint256 number = 2; number <= LAST; ++number) {
            settles(number);
        }
        // fees and balances in slots, BOB's exit, the withdrawal, the refund: all that came in
        vm.assertEq(sum + 2.499 ether + 0.25 ether + 1 ether, 16 ether);
    }

    // ---- an operator who lies about what L1 cannot know ----

    function lies(uint256 number, uint256 place, uint256 choice) private {
        ILedger.Commit memory batch = commitOf(number);
        vm.assertTrue(batch.choices[place] != choice);
        batch.choices[place] = choice;
        refusesForged(number, batch);
    }

    function test_exit_that_pays_a_stranger() public {
        reach(2);
        vm.assertEq(choicesOf(2)[0], 2 | uint256(NATIVE) << 8);
        lies(2, 0, 2 | uint256(NATIVE) << 8 | 1 << 24);
        lies(2, 0, 2 | uint256(NATIVE) << 8 | 8 ether << 24);
    }

    function test_exit_that_pays_too_much_too_little_or_another_coin() public {
        reach(3);
        uint256 honest = choicesOf(3)[1];
        vm.assertEq(honest, 2 | uint256(NATIVE) << 8 | 2.499 ether << 24);
        lies(3, 1, honest + (1 << 24));
        lies(3, 1, honest - (1 << 24));
        lies(3, 1, 2 | uint256(NATIVE) << 8);
        lies(3, 1, honest ^ (uint256(NATIVE ^ TOKEN) << 8));
        lies(3, 1, 2 | ((1 << 112) - 1) << 24 | uint256(NATIVE) << 8);
    }

    function test_requests_for_an_empty_slot_name_no_token() public {
        reach(4);
        vm.assertEq(choicesOf(4)[0], 3 | uint256(NONE) << 8);
        vm.assertEq(choicesOf(4)[2], 2 | uint256(NONE) << 8);
        lies(4, 0, 3 | uint256(NATIVE) << 8);
        lies(4, 2, 2 | uint256(NATIVE) << 8);
        lies(4, 2, 2 | 1 << 24);
    }

    function test_rotation_of_another_token() public {
        reach(2);
        vm.assertEq(choicesOf(2)[1], 3 | uint256(NATIVE) << 8);
        lies(2, 1, 3 | uint256(TOKEN) << 8);
        lies(2, 1, 3);
    }

    /// @dev The refunded deposit of batch 4 as if it had gone into a slot, and the other one as if not.
    function test_refund_of_a_deposit_that_was_taken() public {
        reach(4);
        lies(4, 1, 1 | 1 << 8);
        lies(4, 3, 1);
    }

    /// @dev Of the register's words: sponsor, slot, token, fee, key, owner.
    function test_register_of_another_account() public {
        ILedger.Commit memory batch = reach(2);
        uint256 at = 6 + 26;
        vm.assertEq(batch.data.length, at + 62 + 19);
        uint8[6] memory places = [9, 6, 3, 1, 41, 61];
        for (uint256 i; i < places.length; ++i) {
            batch = commitOf(2);
            batch.data[at + places[i]] ^= 0x03;
            refusesForged(2, batch);
        }
    }

    function test_register_beside_its_no_op() public {
        commitFixtures(1, LAST);
        proveFixtures(1, 4);
        vm.assertEq(commitOf(5).data.length, 6 + 62 + 19);
        proveFixtures(5, 5);
        vm.assertEq(rollup.stateRoot(), newRoot(5));
    }
}
